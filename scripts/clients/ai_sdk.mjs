// Vercel's AI SDK. Run as `node FILE MODEL`, with BASE_URL and API_KEY; prints what checks.py describes.
import assert from "node:assert/strict";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateText, stepCountIs, streamText, tool } from "ai";
import { z } from "zod";

const { BASE_URL: baseURL, API_KEY: apiKey } = process.env;
const server = createOpenAICompatible({ name: "llm-api", baseURL, apiKey, includeUsage: true });
const ask = {
  model: server(process.argv[2]),
  prompt: "How is the weather in Paris?",
  maxOutputTokens: 60,
  maxRetries: 0,
};
const weather = tool({
  description: "Return the weather in Paris.",
  inputSchema: z.object({ unit: z.enum(["celsius", "fahrenheit"]) }),
  execute: async ({ unit }) => `21 degrees ${unit}`,
});
// The first step has to call the tool; the second one answers to its result.
const steps = {
  tools: { weather },
  stopWhen: stepCountIs(2),
  prepareStep: ({ stepNumber }) => ({ toolChoice: stepNumber === 0 ? "required" : "none" }),
};

const checks = {
  async chat() {
    const answer = await generateText(ask);
    assert.ok(answer.text, "the answer has no text");
    assert.ok(answer.usage.totalTokens > 0, "the answer has no usage");
  },
  async stream() {
    const answer = streamText({ ...ask, onError: () => {} });
    let text = "";
    for await (const part of answer.fullStream) {
      if (part.type === "error") throw part.error;
      if (part.type === "text-delta") text += part.text;
    }
    assert.ok(text, "no chunk has text");
    assert.ok((await answer.usage).totalTokens > 0, "the stream has no usage");
  },
  async tools() {
    const answer = await generateText({ ...ask, ...steps });
    assert.ok(answer.steps[0].toolResults.length > 0, "no call had a result");
    assert.equal(answer.steps.length, 2, "the result was not answered");
    const streamed = streamText({ ...ask, ...steps, onError: () => {} });
    let results = 0;
    for await (const part of streamed.fullStream) {
      if (part.type === "error") throw part.error;
      if (part.type === "tool-result") results += 1;
    }
    assert.ok(results > 0, "no streamed call had a result");
  },
};

for (const [check, run] of Object.entries(checks)) {
  let outcome = "ok";
  try {
    await run();
  } catch (error) {
    console.error(error);
    outcome = `failed: ${error.name}: ${error.message}`;
  }
  console.log(JSON.stringify({ check, outcome }));
}

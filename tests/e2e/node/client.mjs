// Checks of OpenAI's npm package against the server at BASE_URL. Prints "ok NAME" for each check; stops at a failure.
import assert from "node:assert/strict";
import OpenAI from "openai";

const client = new OpenAI({ baseURL: `${process.env.BASE_URL}/v1`, apiKey: "none", maxRetries: 0 });
const ask = {
  model: "any",
  messages: [{ role: "user", content: "How is the weather in Paris?" }],
  temperature: 0,
  max_tokens: 16,
};
const parameters = {
  type: "object",
  properties: { unit: { enum: ["celsius", "fahrenheit"] } },
  required: ["unit"],
  additionalProperties: false,
};
const tools = [{ type: "function", function: { name: "get_weather", parameters } }];
const call = { ...ask, max_tokens: 60, tools, tool_choice: "required", parallel_tool_calls: false };

const checks = {
  async chat() {
    const answer = await client.chat.completions.create(ask);
    assert.equal(answer.object, "chat.completion");
    assert.ok(answer.choices[0].message.content);
    assert.ok(answer.usage.total_tokens > 0);
  },
  async streaming() {
    // A fixed answer, which does not depend on what else runs: the size of a batch changes rounding and near ties.
    const sentence = "Mild, with a little rain — and a café’s warmth — in the evening. 🌦";
    const form = { type: "json_schema", json_schema: { name: "said", schema: { const: sentence } } };
    const said = { ...ask, max_tokens: 80, response_format: form };
    const plain = await client.chat.completions.create(said);
    const stream = await client.chat.completions.create({ ...said, stream: true, stream_options: { include_usage: true } });
    let text = "";
    let usage = null;
    for await (const chunk of stream) {
      text += chunk.choices[0]?.delta.content ?? "";
      usage = chunk.usage ?? usage;
    }
    assert.equal(JSON.parse(text), sentence);
    assert.equal(text, plain.choices[0].message.content);
    assert.equal(usage.prompt_tokens, plain.usage.prompt_tokens);
  },
  async tools() {
    const answer = await client.chat.completions.create(call);
    const [choice] = answer.choices;
    assert.equal(choice.finish_reason, "tool_calls");
    const [called] = choice.message.tool_calls;
    assert.equal(called.function.name, "get_weather");
    assert.ok(["celsius", "fahrenheit"].includes(JSON.parse(called.function.arguments).unit));
    const result = { role: "tool", tool_call_id: called.id, content: "21" };
    const messages = [...ask.messages, choice.message, result];
    const second = await client.chat.completions.create({ ...ask, messages });
    assert.ok(second.choices[0].message.content);
  },
  async "streamed tools"() {
    const stream = client.chat.completions.stream(call);
    const message = await stream.finalMessage();
    assert.equal(message.tool_calls[0].function.name, "get_weather");
    JSON.parse(message.tool_calls[0].function.arguments);
  },
  async embeddings() {
    const answer = await client.embeddings.create({ model: "any", input: ["one", "two"] });
    const floats = await client.embeddings.create({ model: "any", input: ["one", "two"], encoding_format: "float" });
    assert.equal(answer.data.length, 2);
    const difference = answer.data[1].embedding.map((value, at) => Math.abs(value - floats.data[1].embedding[at]));
    assert.ok(Math.max(...difference) < 4e-3);
  },
  async models() {
    const kinds = new Set();
    for await (const model of client.models.list()) kinds.add(model.kind);
    assert.deepEqual([...kinds].sort(), ["chat", "embeddings"]);
  },
  async "a refusal"() {
    await assert.rejects(client.chat.completions.create({ ...ask, temperature: 5 }), (error) => {
      return error instanceof OpenAI.BadRequestError && error.param === "temperature";
    });
  },
};

for (const [name, check] of Object.entries(checks)) {
  await check();
  console.log(`ok ${name}`);
}

// How to use this server from other programs. scripts/clients of the project tries those of libraries.

/**
 * @typedef {object} Values
 * @property {string} base such as `http://127.0.0.1:8000/v1`
 * @property {string} key
 * @property {string} model
 * @property {string} embedder the embedding model
 * @property {boolean} isLocal whether the base is only reached from this machine
 */

/** @typedef {{label: string, parts: {title: string, language: string, text: string}[], note?: string}} Snippet */

const QUESTION = "How long is the warranty?";

/** A string of Python, JavaScript, JSON or YAML. @param {string} value @returns {string} */
function quoted(value) {
  return JSON.stringify(value);
}

/** A word of a shell. @param {string} value @returns {string} */
function shell(value) {
  return `'${value.replaceAll("'", "'\\''")}'`;
}

/** @param {Values} values @returns {Record<string, Snippet>} by the name of the tab */
export function snippets(values) {
  return {
    curl: {
      label: "curl",
      parts: [
        { title: "Chat", language: "sh", text: curlChat(values) },
        { title: "Search", language: "sh", text: curlSearch(values) },
      ],
    },
    python: { label: "Python", parts: [{ title: "pip install openai", language: "python", text: python(values) }] },
    javascript: {
      label: "JavaScript",
      parts: [{ title: "npm install openai", language: "javascript", text: javascript(values) }],
    },
    langchain: {
      label: "LangChain",
      parts: [{ title: "pip install langchain-openai", language: "python", text: langchain(values) }],
    },
    llamaindex: {
      label: "LlamaIndex",
      parts: [{ title: "pip install llama-index-llms-openai-like", language: "python", text: llamaIndex(values) }],
    },
    openwebui: { label: "Open WebUI", ...openWebUi(values) },
    continue: {
      label: "Continue",
      parts: [{ title: "~/.continue/config.yaml", language: "yaml", text: continueDev(values) }],
    },
  };
}

/** @param {Values} values @returns {string} */
function curlChat({ base, key, model }) {
  const body = { model, messages: [{ role: "user", content: QUESTION }], stream: true };
  return [
    `curl -N ${shell(`${base}/chat/completions`)} \\`,
    `  -H ${shell(`Authorization: Bearer ${key}`)} \\`,
    "  -H 'Content-Type: application/json' \\",
    `  -d ${shell(JSON.stringify(body))}`,
  ].join("\n");
}

/** @param {Values} values @returns {string} */
function curlSearch({ base, key }) {
  return [
    `curl ${shell(`${base}/rag/search`)} \\`,
    `  -H ${shell(`Authorization: Bearer ${key}`)} \\`,
    "  -H 'Content-Type: application/json' \\",
    `  -d ${shell(JSON.stringify({ query: QUESTION, top_k: 3 }))}`,
  ].join("\n");
}

/** @param {Values} values @returns {string} */
function python({ base, key, model }) {
  return `from openai import OpenAI

client = OpenAI(base_url=${quoted(base)}, api_key=${quoted(key)})
stream = client.chat.completions.create(
    model=${quoted(model)},
    messages=[{"role": "user", "content": ${quoted(QUESTION)}}],
    stream=True,
)
for chunk in stream:
    if chunk.choices:
        print(chunk.choices[0].delta.content or "", end="", flush=True)
`;
}

/** @param {Values} values @returns {string} */
function javascript({ base, key, model }) {
  return `import OpenAI from "openai";

const client = new OpenAI({ baseURL: ${quoted(base)}, apiKey: ${quoted(key)} });
const stream = await client.chat.completions.create({
  model: ${quoted(model)},
  messages: [{ role: "user", content: ${quoted(QUESTION)} }],
  stream: true,
});
for await (const chunk of stream) {
  process.stdout.write(chunk.choices[0]?.delta?.content ?? "");
}
`;
}

/** @param {Values} values @returns {string} */
function langchain({ base, key, model, embedder }) {
  return `from langchain_openai import ChatOpenAI, OpenAIEmbeddings

model = ChatOpenAI(base_url=${quoted(base)}, api_key=${quoted(key)}, model=${quoted(model)})
for chunk in model.stream(${quoted(QUESTION)}):
    print(chunk.content, end="", flush=True)

embeddings = OpenAIEmbeddings(
    base_url=${quoted(base)},
    api_key=${quoted(key)},
    model=${quoted(embedder)},
    check_embedding_ctx_length=False,
)
print(len(embeddings.embed_query(${quoted(QUESTION)})), "dimensions")
`;
}

/** @param {Values} values @returns {string} */
function llamaIndex({ base, key, model }) {
  return `from llama_index.core.llms import ChatMessage
from llama_index.llms.openai_like import OpenAILike

model = OpenAILike(
    api_base=${quoted(base)},
    api_key=${quoted(key)},
    model=${quoted(model)},
    is_chat_model=True,
    is_function_calling_model=True,
)
for part in model.stream_chat([ChatMessage(role="user", content=${quoted(QUESTION)})]):
    print(part.delta or "", end="", flush=True)
`;
}

/** @param {Values} values @returns {{parts: Snippet["parts"], note: string}} */
function openWebUi({ base, key, isLocal }) {
  const variables = [
    `-e OPENAI_API_BASE_URL=${shell(base)}`,
    `-e OPENAI_API_KEY=${shell(key)}`,
    "-e ENABLE_OLLAMA_API=false",
  ];
  const network = isLocal ? ["--network=host", "-e PORT=3000"] : ["-p 3000:8080"];
  const command = ["docker run -d --name open-webui", ...network, ...variables, "-v open-webui:/app/backend/data"];
  const inSettings = `Admin Panel > Settings > Connections > OpenAI API > Add
URL: ${base}
Key: ${key}
`;
  return {
    parts: [
      { title: "In a running Open WebUI", language: "text", text: inSettings },
      {
        title: "A new one with Docker",
        language: "sh",
        text: `${command.join(" \\\n  ")} \\\n  ghcr.io/open-webui/open-webui:main`,
      },
    ],
    note: "Models named MODEL@COLLECTION in its list answer from the documents of that collection.",
  };
}

/** @param {Values} values @returns {string} */
function continueDev({ base, key, model, embedder }) {
  return `name: llm-api
version: 1.0.0
schema: v1
models:
  - name: ${quoted(model)}
    provider: openai
    model: ${quoted(model)}
    apiBase: ${quoted(base)}
    apiKey: ${quoted(key)}
    roles: [chat, edit, apply]
  - name: ${quoted(embedder)}
    provider: openai
    model: ${quoted(embedder)}
    apiBase: ${quoted(base)}
    apiKey: ${quoted(key)}
    roles: [embed]
`;
}

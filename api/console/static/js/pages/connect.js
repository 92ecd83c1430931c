// The connect page: how other programs use this server.

import { get, root } from "../api.js";
import { copy } from "../clipboard.js";
import { snippets } from "../connect/snippets.js";
import { byId, fill, h, icon } from "../dom.js";
import { signedIn } from "../session.js";
import { makeTabs } from "../tabs.js";
import { attempt } from "../toast.js";

/** @typedef {import("../wire.js").Model} Model */

const STORED = "llm-api.connect";
const PLACEHOLDER = "YOUR_API_KEY";

const values = { base: `${location.origin}${root}/v1`, key: "none", model: "any", embedder: "any", isLocal: isLocal() };
let chosen = "";

/** @returns {boolean} */
function isLocal() {
  return location.hostname === "localhost" || location.hostname === "[::1]" || location.hostname.startsWith("127.");
}

function show() {
  const model = byId("model", HTMLSelectElement).value || "any";
  const collection = byId("collection", HTMLSelectElement).value;
  const filled = { ...values, model: collection ? `${model}@${collection}` : model };
  byId("base").textContent = values.base;
  byId("key").textContent = values.key;
  byId("model-name").textContent = filled.model;
  const snippet = snippets(filled)[chosen];
  if (snippet === undefined) return;
  fill(
    byId("snippet"),
    ...snippet.parts.map(({ title, text }) =>
      h(
        "div",
        { class: "snippet" },
        h("div", { class: "snippet-head" }, h("code", {}, title), copyButton(title, text)),
        h("pre", { tabindex: 0, "aria-label": title }, h("code", {}, text)),
      ),
    ),
    snippet.note && h("p", { class: "muted small" }, snippet.note),
  );
}

/** @param {string} what @param {string} text @returns {HTMLButtonElement} */
function copyButton(what, text) {
  const attributes = { type: "button", class: "button", "aria-label": `Copy: ${what}`, onclick: () => void copy(text) };
  return h("button", attributes, icon("copy"), "Copy");
}

/** @param {string} id @param {{value: string, label: string}[]} options */
function offer(id, options) {
  fill(byId(id, HTMLSelectElement), ...options.map(({ value, label }) => h("option", { value }, label)));
}

async function start() {
  const choose = makeTabs(
    byId("tabs"),
    byId("snippet"),
    Object.entries(snippets(values)).map(([name, { label }]) => ({ name, label })),
    (name) => {
      chosen = name;
      localStorage.setItem(STORED, name);
      show();
    },
  );
  const stored = localStorage.getItem(STORED) ?? "";
  choose(Object.hasOwn(snippets(values), stored) ? stored : "curl");
  for (const id of ["model", "collection"]) byId(id).addEventListener("change", show);
  for (const button of document.querySelectorAll("[data-copies]")) {
    const { copies = "" } = /** @type {HTMLElement} */ (button).dataset;
    button.addEventListener("click", () => void copy(byId(copies).textContent ?? ""));
  }
  const session = await signedIn();
  if (session.key_required) values.key = PLACEHOLDER;
  byId("key-help").textContent = session.key_required
    ? "This server asks for a key. llm-api keys create NAME makes one."
    : "This server asks for no key. Programs that need one may send anything.";
  /** @type {Model[]} */
  const models = (await get("/v1/models")).data;
  const own = models.filter(({ collection, problem }) => collection === undefined && !problem);
  values.embedder = own.find(({ kind }) => kind === "embeddings")?.id ?? "any";
  offer(
    "model",
    own
      .filter(({ kind }) => kind === "chat")
      .map(({ id, default: isDefault }) => ({ value: id, label: isDefault ? `${id} (default)` : id })),
  );
  show();
  if (!session.scopes.includes("documents:read")) return;
  /** @type {import("../wire.js").Collection[]} */
  const collections = (await get("/v1/rag/collections")).data;
  offer("collection", [
    { value: "", label: "nothing but the model" },
    ...collections.map(({ name }) => ({ value: name, label: name })),
  ]);
  // Answers from documents are what most come for.
  const first = collections.find(({ coverage }) => coverage.indexed > 0);
  if (first !== undefined) byId("collection", HTMLSelectElement).value = first.name;
  show();
}

void attempt(start);

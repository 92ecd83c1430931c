// The models page: what is loaded, what is on disk, and what can be pulled.

import { get, post } from "../api.js";
import { coalesced } from "../coalesce.js";
import { byId, fill, h } from "../dom.js";
import { follow } from "../events.js";
import { bytes, count } from "../format.js";
import { Pulls } from "../models/pulls.js";
import { signedIn } from "../session.js";
import { attempt, toast } from "../toast.js";

/** @typedef {import("../wire.js").Model} Model */

/**
 * @typedef {object} Recommended
 * @property {string} id
 * @property {number} size_bytes
 * @property {number} memory_bytes
 * @property {string} licence
 * @property {string} purpose
 * @property {boolean} fits
 * @property {boolean} best
 */

const REFRESH_MS = 1000;
/** @type {Record<Model["state"], [string, string]>} */
const STATES = {
  loaded: ["Loaded", "good"],
  loading: ["Loading…", "active"],
  available: ["On disk", ""],
  failed: ["Failed", "bad"],
};
/** @type {Record<Model["kind"], string>} */
const KINDS = { chat: "Chat", embeddings: "Embeddings", rerank: "Reranking" };

let mayChange = false;
/** @type {Model[]} */
let models = [];
/** @type {Recommended[]} */
let recommended = [];
const pulls = new Pulls(byId("pulls"), () => refreshSoon());

/** @param {Model} model @returns {HTMLElement} */
function modelCard(model) {
  const { id, state, problem, kind, demonstration: isDemonstration } = model;
  const [label, badge] = STATES[state];
  return h(
    "li",
    { class: "card model" },
    h(
      "div",
      { class: "model-head" },
      h("h3", {}, id),
      h("span", { class: `badge ${problem ? "bad" : badge}` }, problem ? "Cannot be used" : label),
      model.default && h("span", { class: "badge active" }, "Default"),
      isDemonstration && h("span", { class: "badge" }, "Demonstration"),
    ),
    h("p", { class: "muted small" }, facts(model)),
    problem && h("p", { class: "error-text small" }, problem),
    kind === "chat" && mayChange && h("div", { class: "row" }, ...buttons(model)),
  );
}

/** @param {Model} model @returns {string} */
function facts({ parameters, quantization, size_bytes: size, context_length: context, capabilities }) {
  return [
    parameters && `${amount(parameters)} parameters`,
    quantization,
    size && bytes(size),
    context && `context of ${count(context)} tokens`,
    capabilities.join(", "),
  ]
    .filter(Boolean)
    .join(" · ");
}

/** @param {number} value @returns {string} such as `4.0 billion` */
function amount(value) {
  return value >= 1e9 ? `${(value / 1e9).toFixed(1)} billion` : `${Math.round(value / 1e6)} million`;
}

/** @param {Model} model @returns {HTMLElement[]} */
function buttons({ id, state, problem, default: isDefault }) {
  const button = (/** @type {string} */ label, /** @type {string} */ action, /** @type {string} */ done) =>
    h(
      "button",
      {
        type: "button",
        class: "button",
        "aria-label": `${label}: ${id}`,
        onclick: () => void change(id, action, done),
      },
      label,
    );
  const isLoaded = state === "loaded" || state === "loading";
  return [
    ...(isLoaded ? [button("Unload", "unload", `${id} will be unloaded when it has answered.`)] : []),
    ...(isLoaded || problem ? [] : [button("Load", "load", `${id} is being loaded.`)]),
    ...(isDefault || problem ? [] : [button("Make default", "default", `${id} is the default model now.`)]),
  ];
}

/** @param {string} id @param {string} action @param {string} done */
async function change(id, action, done) {
  const isDone = await attempt(() => post(`/v1/models/${encodeURIComponent(id)}/${action}`));
  if (!isDone) return;
  toast(done);
  await attempt(refresh);
}

function show() {
  const own = models.filter(({ collection }) => collection === undefined);
  const chat = own.filter(({ kind }) => kind === "chat");
  fill(byId("chat-models"), ...chat.map(modelCard));
  byId("no-models").hidden = chat.length > 0;
  const others = own.filter(({ kind }) => kind !== "chat");
  byId("other-section").hidden = others.length === 0;
  fill(
    byId("other-models"),
    ...others.map((model) =>
      h(
        "li",
        { class: "card model" },
        h(
          "div",
          { class: "model-head" },
          h("h3", {}, model.id),
          h("span", { class: "badge good" }, STATES[model.state][0]),
          h("span", { class: "badge" }, KINDS[model.kind]),
        ),
      ),
    ),
  );
  showDemonstration(chat);
}

/** @param {Model[]} chat */
function showDemonstration(chat) {
  const isDemonstration = chat.find((model) => model.default)?.demonstration === true;
  const best = recommended.find((model) => model.best);
  const other = chat.find((model) => !model.demonstration && !model.problem);
  const notice = byId("demonstration");
  notice.hidden = !isDemonstration;
  if (!isDemonstration) return;
  const advice =
    other !== undefined
      ? `Make another one the default, such as ${other.id}.`
      : best !== undefined
        ? `For this machine, pull ${best.id} (about ${bytes(best.size_bytes)}): ${lowered(best.purpose)}.`
        : "Pull one that fits into the memory of this machine.";
  fill(
    notice,
    h(
      "p",
      {},
      h("strong", {}, "The demonstration model answers."),
      ` It is very small, shows that everything works, and is often wrong. ${advice}`,
    ),
    mayChange &&
      (other !== undefined
        ? h(
            "button",
            {
              type: "button",
              class: "button primary",
              onclick: () => void change(other.id, "default", `${other.id} is the default model now.`),
            },
            `Use ${other.id}`,
          )
        : best !== undefined &&
          h("button", { type: "button", class: "button primary", onclick: () => void pull(best.id) }, "Pull it")),
  );
}

/** @param {string} text @returns {string} */
function lowered(text) {
  return text.charAt(0).toLowerCase() + text.slice(1);
}

function showRecommended() {
  byId("recommended-section").hidden = recommended.length === 0;
  fill(byId("recommended"), ...recommended.map(recommendedItem));
}

/** @param {Recommended} model @returns {HTMLElement} */
function recommendedItem({ id, purpose, size_bytes: size, memory_bytes: memory, licence, fits, best }) {
  const suits = best ? "Best for this machine" : fits ? "Fits this machine" : "Too large or too slow here";
  return h(
    "li",
    { class: "recommended" },
    h(
      "div",
      { class: "recommended-text" },
      h(
        "div",
        { class: "row" },
        h("span", {}, id),
        h("span", { class: `badge ${best ? "good" : fits ? "" : "warn"}` }, suits),
      ),
      h(
        "p",
        { class: "muted small" },
        `${purpose} · about ${bytes(size)}, needs ${bytes(memory)} of memory · ${licence}`,
      ),
    ),
    mayChange &&
      h(
        "button",
        { type: "button", class: "button", "aria-label": `Pull ${id}`, onclick: () => void pull(id) },
        "Pull",
      ),
  );
}

/** @param {string} model @returns {Promise<boolean>} */
async function pull(model) {
  const isStarted = await attempt(() => pulls.start(model));
  if (isStarted) byId("pulls").scrollIntoView({ block: "nearest" });
  return isStarted;
}

async function refresh() {
  models = (await get("/v1/models")).data;
  show();
}

const refreshSoon = coalesced(refresh, REFRESH_MS);

/** Take what an event says of a model. What it says of others, such as which is the default, is asked for. @param {Model} changed */
function modelChanged(changed) {
  const at = models.findIndex(({ id }) => id === changed.id);
  const known = models[at];
  if (known === undefined || known.default !== changed.default) {
    refreshSoon();
    return;
  }
  models[at] = changed;
  show();
}

function listen() {
  follow(["models", "jobs"], {
    model: modelChanged,
    "model.deleted": refreshSoon,
    job: (job) => pulls.take(job),
    reset: () => {
      refreshSoon();
      void attempt(() => pulls.load());
    },
  });
}

async function start() {
  byId("pull-form", HTMLFormElement).addEventListener("submit", async (event) => {
    event.preventDefault();
    const input = byId("pull-model", HTMLInputElement);
    if (await pull(input.value.trim())) input.value = "";
  });
  const session = await signedIn();
  mayChange = session.scopes.includes("admin");
  byId("pull-form").hidden = !mayChange;
  byId("needs-admin").hidden = mayChange;
  listen();
  await attempt(refresh);
  await attempt(async () => {
    recommended = (await get("/v1/models/recommended")).data;
    showRecommended();
    show();
  });
  await attempt(() => pulls.load());
}

void attempt(start);

// The page of a document: what is known of it, its text, and what happens to it.

import { ApiError, get, post, root } from "../api.js";
import { keepTimesRight } from "../clock.js";
import { confirmed } from "../dialogs.js";
import { deleteDocument, documentAddress } from "../documents/actions.js";
import { capital, isRetryable, isUnfinished, stateBadge } from "../documents/states.js";
import { DocumentText } from "../documents/text.js";
import { byId, fill, h } from "../dom.js";
import { follow } from "../events.js";
import { bytes, count, duration, exact, time } from "../format.js";
import { signedIn } from "../session.js";
import { attempt, toast } from "../toast.js";

/** @typedef {import("../wire.js").Document} Document */

const MOST_EVENTS = 200;
const STAGES = /** @type {const} */ ([
  ["queued_ms", "Queued"],
  ["parsing_ms", "Parsing"],
  ["index_wait_ms", "Waiting for indexing"],
  ["indexing_ms", "Indexing"],
]);

const id = byId("document").dataset.id ?? "";
const address = documentAddress(id);
const text = new DocumentText(id, byId("text"));
/** @type {Document} */
let shown;
let lastEvent = "";

/** @param {Document} document */
function show(document) {
  const before = /** @type {Document | undefined} */ (shown);
  shown = document;
  const { filename, status, error, progress } = document;
  window.document.title = `${filename} · llm-api`;
  byId("title").textContent = filename;
  fill(
    byId("state"),
    stateBadge(document),
    progress.stale && h("span", { class: "badge warn" }, "Search finds an older version"),
    isUnfinished(status) && progress.searchable && h("span", { class: "badge good" }, "Searchable meanwhile"),
    typeof progress.waiting_before === "number" &&
      h("span", { class: "muted small" }, `${count(progress.waiting_before)} before it`),
  );
  const bar = byId("progress", HTMLProgressElement);
  bar.hidden = status !== "parsing" && status !== "indexing";
  bar.value = progress.percent;
  byId("error").hidden = error === null;
  byId("error-text").textContent = error ?? "";
  byId("retry").hidden = !isRetryable(status);
  byId("cancel").hidden = !isUnfinished(status);
  byId("reindex").hidden = status !== "completed";
  showFacts(document);
  showTimings(document);
  note(document);
  if (before !== undefined && before.status !== "completed" && status === "completed") {
    // What is being read is not replaced under the reader's eyes.
    if (text.isEmpty) void attempt(() => text.show(namedChunk()));
    else byId("new-text").hidden = false;
  }
}

/** @param {Document} document */
function showFacts(document) {
  const { path, filename, collection, source, media_type: mediaType, size_bytes: size, chunk_count: chunks } = document;
  const link = h("a", { href: `${root}/console/documents?${new URLSearchParams({ collection })}` }, collection);
  const sources = { upload: "Uploaded", text: "Sent as text", watch: "Watched folder" };
  /** @type {[string, string | Node][]} */
  const facts = [
    ["Collection", link],
    ["Source", sources[source]],
    ...(path !== null && path !== filename ? [/** @type {[string, string]} */ (["Path", path])] : []),
    ["Type", mediaType ?? "not known yet"],
    ["Size", bytes(size)],
    ["Chunks", count(chunks)],
    ["Added", time(document.created_at)],
    ["Changed", time(document.updated_at)],
    ["Id", h("code", {}, document.id)],
  ];
  fill(byId("facts"), ...facts.map(pair));
  const attributes = Object.entries(document.attributes).map(([name, value]) => [name, valueText(value)]);
  showPairs("attributes", attributes);
  showPairs("properties", Object.entries(document.properties));
}

/** @param {unknown} value @returns {string} */
function valueText(value) {
  return Array.isArray(value) ? value.join(", ") : String(value);
}

/** @param {string} section @param {string[][]} pairs */
function showPairs(section, pairs) {
  byId(`${section}-section`).hidden = pairs.length === 0;
  fill(byId(section), ...pairs.map(([name = "", value = ""]) => pair([name, value])));
}

/** @param {[string, string | Node]} pair @returns {HTMLElement} */
function pair([name, value]) {
  return h("div", {}, h("dt", {}, name), h("dd", {}, value));
}

/** @param {Document} document */
function showTimings({ progress }) {
  const { timings } = progress;
  const total = timings.total_ms ?? 0;
  byId("timings-section").hidden = total <= 0;
  const rows = STAGES.map(([name, label]) => {
    const spent = timings[name] ?? null;
    return h(
      "tr",
      {},
      h("th", { scope: "row" }, label),
      h("td", { class: "timing-bar" }, spent !== null && share(spent / Math.max(total, 1))),
      h("td", { class: "number" }, spent === null ? "–" : milliseconds(spent)),
    );
  });
  const sum = h(
    "tr",
    {},
    h("th", { scope: "row" }, "Together"),
    h("td"),
    h("td", { class: "number" }, milliseconds(total)),
  );
  fill(byId("timings"), ...rows, sum);
}

/** @param {number} part 0 to 1 @returns {HTMLElement} */
function share(part) {
  const bar = h("span", { class: "share" });
  bar.style.width = `${Math.max(1, Math.round(Math.min(part, 1) * 100))}%`;
  return bar;
}

/** @param {number} value @returns {string} */
function milliseconds(value) {
  return value < 1000
    ? `${Math.round(value)} ms`
    : value < 60_000
      ? `${(value / 1000).toFixed(1)} s`
      : duration(value / 1000);
}

/** Write what happens to the document into the log. @param {Document} document */
function note({ progress, updated_at: at, error }) {
  const stage = progress.stage === "parsed" ? "Waits for indexing" : capital(progress.stage);
  const share = progress.stage === "indexing" ? `, ${progress.percent} %` : "";
  const line = `${stage}${share}${progress.activity === "stalled" ? ` – ${progress.activity_reason ?? "stalled"}` : ""}`;
  if (line === lastEvent) return;
  lastEvent = line;
  log(error ? `${line}: ${error}` : line, at);
}

/** @param {string} line @param {number} at Unix seconds */
function log(line, at) {
  const events = byId("events");
  const stamp = h("span", { class: "muted", title: exact(at) }, new Date(at * 1000).toLocaleTimeString());
  events.prepend(h("li", {}, stamp, " ", line));
  while (events.childElementCount > MOST_EVENTS) events.lastElementChild?.remove();
}

function gone() {
  byId("gone").hidden = false;
  for (const button of byId("actions").querySelectorAll("button, a")) /** @type {HTMLElement} */ (button).hidden = true;
  log("Deleted", Date.now() / 1000);
}

async function reindex() {
  const isSure = await confirmed({
    title: "Index the document again?",
    text: "Its original is read and embedded again. Search finds the present version until the new one is complete.",
    action: "Index again",
    danger: false,
  });
  if (!isSure) return;
  show(await post(`${address}/reindex`));
  toast("The document will be indexed again.");
}

/** @returns {number | null} the chunk that the page's address names */
function namedChunk() {
  const found = /^#chunk-(\d{1,9})$/.exec(location.hash);
  return found ? Number(found[1]) : null;
}

function wire() {
  const act = (/** @type {string} */ name, /** @type {() => Promise<unknown>} */ action) => {
    byId(name).onclick = () => void attempt(action);
  };
  act("retry", async () => show(await post(`${address}/retry`)));
  act("cancel", async () => show(await post(`${address}/cancel`)));
  act("reindex", reindex);
  act("delete", async () => {
    if (await deleteDocument(shown))
      location.assign(`${root}/console/documents?${new URLSearchParams({ collection: shown.collection })}`);
  });
  act("new-text", async () => {
    byId("new-text").hidden = true;
    await text.reload(namedChunk());
  });
  window.addEventListener("hashchange", () => void attempt(() => text.show(namedChunk())));
  byId("download", HTMLAnchorElement).href = `${root}${address}/original`;
}

async function start() {
  // Where the text comes first, what is known of the document is folded.
  byId("about", HTMLDetailsElement).open = window.matchMedia("(min-width: 901px)").matches;
  wire();
  keepTimesRight();
  const session = await signedIn();
  document.body.classList.toggle("read-only", !session.scopes.includes("documents:write"));
  try {
    show(await get(address));
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    byId("title").textContent = error.status === 404 ? "There is no such document" : "The document cannot be shown";
    byId("gone").hidden = false;
    byId("gone").textContent = error.message;
    byId("document").classList.add("missing");
    return;
  }
  byId("document").classList.remove("loading");
  const events = {
    document: (/** @type {Document} */ document) => document.id === id && show(document),
    "document.deleted": (/** @type {{id: string}} */ deleted) => deleted.id === id && gone(),
    reset: () => void attempt(async () => show(await get(address))),
  };
  follow(["documents"], events, { document: id });
  await attempt(() => text.show(namedChunk()));
}

void attempt(start);

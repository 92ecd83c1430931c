// The queue page: what waits and runs, who works on it, and what was done in the last hour.

import { call, get } from "../api.js";
import { barChart } from "../chart.js";
import { keepTimesRight } from "../clock.js";
import { coalesced } from "../coalesce.js";
import { byId, fill, h, icon, iconButton } from "../dom.js";
import { follow } from "../events.js";
import { count, counted, duration, time } from "../format.js";
import { capital } from "../documents/states.js";
import { signedIn } from "../session.js";
import { attempt, toast } from "../toast.js";

/**
 * @typedef {object} QueueEntry
 * @property {string} id
 * @property {string} kind
 * @property {string | null} model
 * @property {string | null} owner
 * @property {"queued" | "running"} status
 * @property {number | null} position
 * @property {number} age_seconds
 * @property {number | null} estimated_start_seconds
 * @property {number | null} tokens_per_second
 * @property {number} tokens
 * @property {boolean} durable
 */

/**
 * @typedef {object} Worker
 * @property {string} role
 * @property {string | null} name null for those who are not admins
 * @property {string | null} host
 * @property {string | null} model
 * @property {"idle" | "generating" | "parsing" | "indexing" | null} doing null if it does not say
 * @property {number} busy answers that it generates, or documents that it holds
 * @property {number | null} since Unix seconds
 * @property {Record<string, number>} figures
 */

/** Answers are asked for at most this often, however many events come. */
const QUEUE_MS = 1000;
const THROUGHPUT_MS = 15_000;
/** @type {Record<string, string>} */
const KINDS = {
  chat: "Chat",
  rag_chat: "Answer from documents",
  completion: "Completion",
  embeddings: "Embeddings",
  search: "Search",
  rerank: "Reranking",
  documents: "Documents",
  pull: "Pull of a model",
  evaluation: "Evaluation",
};

/** @type {QueueEntry[]} */
let entries = [];
let loadedAt = 0;
/** Ids whose cancellation has been asked for. @type {Set<string>} */
const cancelling = new Set();

function showEntries() {
  const running = entries.filter(({ status }) => status === "running").length;
  byId("queue-figures").textContent =
    entries.length === 0
      ? ""
      : `${counted(running, "running", "running")} · ${counted(entries.length - running, "waiting", "waiting")}`;
  byId("queue-empty").hidden = entries.length > 0;
  byId("queue-frame").hidden = entries.length === 0;
  const focused = document.activeElement?.closest("tr")?.dataset.id;
  fill(byId("queue"), ...entries.map(entryRow));
  if (focused !== undefined) {
    /** @type {HTMLElement | null} */ (
      byId("queue").querySelector(`[data-id="${CSS.escape(focused)}"] button`)
    )?.focus();
  }
  tick();
}

/** @param {number | null} position how many come before it @returns {string} */
function turn(position) {
  return position === null ? "Waiting" : position === 0 ? "Next" : `Waiting, ${count(position)} before it`;
}

/** @param {QueueEntry} entry @returns {HTMLElement} */
function entryRow(entry) {
  const { id, kind, model, owner, status, position, durable, tokens, tokens_per_second: speed } = entry;
  const isRunning = status === "running";
  const cancel = iconButton("stop", `Cancel ${KINDS[kind] ?? kind} ${id}`, () => void cancelEntry(id));
  cancel.disabled = cancelling.has(id) || !durable;
  if (!durable) cancel.title = "It ends when its client leaves.";
  return h(
    "tr",
    { "data-id": id },
    h("td", {}, h("span", { class: `badge ${isRunning ? "active" : ""}` }, isRunning ? "Running" : turn(position))),
    h("td", { title: id }, KINDS[kind] ?? kind, durable && h("span", { class: "muted small" }, " · asynchronous")),
    h("td", {}, model ?? "–"),
    h("td", {}, owner ?? "–"),
    h("td", { class: "number", "data-age": entry.age_seconds }),
    h(
      "td",
      { class: "number", "data-start": isRunning ? null : entry.estimated_start_seconds },
      isRunning ? "–" : "unknown",
    ),
    h(
      "td",
      { class: "number" },
      speed === null ? "–" : `${speed.toFixed(1)}/s`,
      tokens > 0 && h("span", { class: "muted small" }, ` · ${count(tokens)}`),
    ),
    h("td", {}, cancel),
  );
}

/** Write the ages and the estimates again as time passes. */
function tick() {
  const passed = (performance.now() - loadedAt) / 1000;
  for (const cell of byId("queue").querySelectorAll("[data-age]")) {
    cell.textContent = duration(Number(/** @type {HTMLElement} */ (cell).dataset.age) + passed);
  }
  for (const cell of byId("queue").querySelectorAll("[data-start]")) {
    const left = Number(/** @type {HTMLElement} */ (cell).dataset.start) - passed;
    cell.textContent = left > 0.5 ? `in ${duration(left)}` : "any moment";
  }
}

/** @param {string} id */
async function cancelEntry(id) {
  cancelling.add(id);
  showEntries();
  const isDone = await attempt(() => call("DELETE", `/v1/jobs/${encodeURIComponent(id)}`));
  if (isDone) toast("The job is being cancelled.");
  else cancelling.delete(id);
  refreshSoon();
}

/** @param {Worker[]} workers */
function showWorkers(workers) {
  fill(byId("workers"), ...workers.map(workerCard));
  byId("workers-empty").hidden = workers.length > 0;
}

/** @param {Worker} worker @returns {HTMLElement} */
function workerCard({ role, name, host, model, doing, busy, since, figures }) {
  const isBusy = doing !== null && doing !== "idle";
  const things = doing === "generating" ? counted(busy, "answer") : counted(busy, "document");
  return h(
    "li",
    { class: "card worker" },
    h(
      "div",
      { class: "row" },
      h("h3", {}, role === "api" ? "API" : capital(role)),
      doing !== null &&
        h("span", { class: `badge ${isBusy ? "active" : ""}` }, isBusy ? `${capital(doing)}, ${things}` : "Idle"),
    ),
    model && h("p", {}, model),
    figureText(figures) && h("p", { class: "muted small" }, figureText(figures)),
    h(
      "p",
      { class: "muted small" },
      h("bdi", {}, name ?? host ?? ""),
      since !== null && [name ? " · started " : "Started ", time(since)],
    ),
  );
}

/** @param {Record<string, number>} figures of an engine, or none @returns {string} */
function figureText({
  slots,
  running = 0,
  waiting = 0,
  tokens_per_second: speed = 0,
  kv_used: used = 0,
  kv_total: all = 0,
}) {
  if (slots === undefined) return "";
  return [
    `${count(running)} of ${counted(slots, "slot")}`,
    waiting > 0 && `${count(waiting)} waiting`,
    speed > 0 && `${speed.toFixed(1)} tokens a second`,
    all > 0 && `cache: ${count(used)} of ${count(all)} tokens`,
  ]
    .filter(Boolean)
    .join(" · ");
}

/** @param {{host: string, port: number} | null | undefined} flower */
function showFlower(flower) {
  const section = byId("flower");
  section.hidden = !flower;
  if (!flower) return;
  const isLocal = ["localhost", "::1"].includes(flower.host) || flower.host.startsWith("127.");
  const isHere = ["localhost", "[::1]"].includes(location.hostname) || location.hostname.startsWith("127.");
  if (isLocal && !isHere) {
    fill(section, `Flower: port ${flower.port} on the server's own machine`);
    return;
  }
  const host = isLocal || ["0.0.0.0", "::"].includes(flower.host) ? location.hostname : flower.host;
  const href = `http://${host}:${flower.port}`;
  fill(
    section,
    h(
      "a",
      {
        class: "button",
        href,
        target: "_blank",
        rel: "noopener noreferrer",
        title: "Every task of the workers; its login is printed when the server starts",
      },
      icon("open"),
      "Flower",
    ),
  );
}

async function refresh() {
  const answer = await get("/v1/queue");
  entries = answer.data;
  loadedAt = performance.now();
  for (const id of cancelling) if (!entries.some((entry) => entry.id === id)) cancelling.delete(id);
  showEntries();
  showWorkers(answer.workers);
  showFlower(answer.flower);
}

async function refreshThroughput() {
  /** @type {{minutes: Record<string, number>[]}} */
  const { minutes } = await get("/v1/throughput");
  const times = minutes.map((minute) => minute.at ?? 0);
  const values = (/** @type {string} */ name) => minutes.map((minute) => minute[name] ?? 0);
  const one = (/** @type {string} */ title, /** @type {string} */ unit, /** @type {string} */ name) =>
    barChart({ title, unit, times, series: [{ label: unit, class: "bar", values: values(name) }] });
  // Tables that are open stay so.
  const open = [...byId("charts").querySelectorAll("details")].map((details) => details.open);
  fill(
    byId("charts"),
    barChart({
      title: "Documents",
      unit: "documents",
      times,
      series: [
        { label: "completed", class: "bar", values: values("documents_completed") },
        { label: "failed", class: "bar bad", values: values("documents_failed") },
      ],
    }),
    one("Chunks", "chunks", "chunks"),
    one("Jobs", "jobs", "jobs"),
    one("Tokens written", "tokens", "completion_tokens"),
    one("Searches", "searches", "searches"),
  );
  byId("charts")
    .querySelectorAll("details")
    .forEach((details, index) => {
      details.open = open[index] ?? false;
    });
}

const refreshSoon = coalesced(refresh, QUEUE_MS);
const refreshThroughputSoon = coalesced(refreshThroughput, THROUGHPUT_MS);

function changed() {
  refreshSoon();
  refreshThroughputSoon();
}

async function start() {
  const session = await signedIn();
  const topics = session.scopes.includes("documents:read") ? ["jobs", "documents", "models"] : ["jobs", "models"];
  follow(topics, { queue: changed, job: changed, document: changed, model: refreshSoon, reset: changed });
  keepTimesRight();
  window.setInterval(tick, 1000);
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) changed();
  });
  changed();
}

void attempt(start);

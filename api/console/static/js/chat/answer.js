// Builds an answer from the events of its job, or from the result of a job whose events are gone.

/** @typedef {import("../conversations.js").Message} Message */
/** @typedef {import("../conversations.js").Source} Source */

import { newId } from "../conversations.js";

/** The states in which an answer changes no more. */
const FINAL = new Set(["done", "completed", "failed", "cancelled"]);

/** @param {Message} message */
export function isFinal(message) {
  return FINAL.has(message.state);
}

/**
 * @param {string} conversation
 * @param {string} parent
 * @param {"user" | "assistant"} role
 * @param {string} text
 * @returns {Message}
 */
export function newMessage(conversation, parent, role, text = "") {
  return {
    id: newId(),
    conversation,
    parent,
    role,
    at: Date.now(),
    text,
    state: role === "user" ? "done" : "sending",
    job: "",
    event: 0,
    model: "",
    reasoning: "",
    calls: [],
    sources: [],
    searched: false,
    grounded: null,
    missing: null,
    finish: "",
    waiting: null,
    tokens: 0,
    seconds: 0,
    error: "",
  };
}

/**
 * Add the next event of the job.
 *
 * @param {Message} message
 * @param {number} number of the event
 * @param {any} event its data
 */
export function addEvent(message, number, event) {
  if (number <= message.event) return;
  message.event = number;
  if (event.type !== "queued") message.waiting = null;
  switch (event.type) {
    case "queued":
      message.state = "queued";
      message.waiting = {
        position: event.position,
        seconds: event.estimated_start_seconds ?? null,
        loading: event.reason === "loading",
        percent: event.percent ?? null,
      };
      break;
    case "accepted":
      message.state = "running";
      message.model = event.model;
      break;
    case "retrieved":
      message.sources = event.hits.map(toSource);
      break;
    case "text":
      message.text += event.text;
      break;
    case "reasoning":
      message.reasoning += event.text;
      break;
    case "tool_call":
      if (event.server) addCall(message, event);
      break;
    case "tool_result":
      endCall(message, event);
      break;
    case "choice_finished":
      message.finish = event.finish_reason;
      if (event.grounding) setGrounding(message, event.grounding.words ?? [], event.grounding.sentences ?? []);
      break;
    case "finished":
      message.state = "completed";
      message.model = event.model || message.model;
      setFigures(message, event.usage, event.timings);
      break;
    case "failed":
      message.state = "failed";
      message.error = event.error.message;
      break;
    case "cancelled":
      message.state = "cancelled";
      break;
    default:
      if (message.state !== "running") message.state = "running";
  }
}

/**
 * Take over a job that has ended, as `GET /v1/jobs/ID` returns it.
 *
 * @param {Message} message
 * @param {any} job
 */
export function setJob(message, job) {
  message.waiting = null;
  if (job.status === "failed") {
    message.state = "failed";
    message.error = job.error?.message ?? "The answer failed.";
  } else if (job.status === "cancelled") {
    message.state = "cancelled";
  } else if (job.status === "completed") {
    const choice = job.result.choices[0];
    message.state = "completed";
    message.text = choice?.message.content ?? "";
    message.reasoning = choice?.message.reasoning_content ?? "";
    message.calls = (choice?.message.tool_results ?? []).map((/** @type {any} */ call) => ({ ...call, done: true }));
    message.model = job.result.model;
    message.finish = choice?.finish_reason ?? "";
    message.sources = (job.result.sources ?? []).map(toSource);
    if (choice?.grounded === true) setGrounding(message, [], []);
    if (choice?.missing) setGrounding(message, choice.missing.question, choice.missing.answer);
    setFigures(message, job.result.usage, job.result.timings);
  }
}

/** @param {any} hit @param {number} position @returns {Source} */
function toSource(hit, position) {
  return {
    index: position + 1,
    document_id: hit.document_id,
    file: hit.path || hit.filename,
    collection: hit.collection,
    chunk_index: hit.chunk_index,
    page: hit.page ?? null,
    last_page: hit.last_page ?? null,
    section: hit.section ?? null,
    start: hit.start ?? null,
    end: hit.end ?? null,
    text: hit.text,
    highlights: hit.highlights ?? [],
  };
}

/** @param {Message} message @param {any} event */
function addCall(message, event) {
  if (event.id) {
    message.calls.push({ id: event.id, name: event.name, arguments: "", result: null, error: null, done: false });
  }
  const call = message.calls[event.call_index];
  if (call) call.arguments += event.arguments ?? "";
}

/** @param {Message} message @param {any} event */
function endCall(message, event) {
  const call = message.calls.find(({ id }) => id === event.call_id);
  if (call) Object.assign(call, { result: event.result ?? null, error: event.error ?? null, done: true });
}

/** @param {Message} message @param {string[]} question @param {string[]} answer what the documents lack of both */
function setGrounding(message, question, answer) {
  message.grounded = question.length === 0 && answer.length === 0;
  message.missing = message.grounded ? null : { question, answer };
}

/** @param {Message} message @param {any} usage @param {any} timings */
function setFigures(message, usage, timings) {
  message.tokens = usage?.completion_tokens ?? 0;
  message.seconds = (timings?.generation_ms ?? 0) / 1000;
}

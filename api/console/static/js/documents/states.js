// The states of documents, in words.

import { h } from "../dom.js";

/** @typedef {import("../wire.js").Document} Document */

/** The filters by state: their value in the page's address, their label, and the statuses that they mean. */
export const STATE_FILTERS = /** @type {const} */ ([
  ["", "Any state", []],
  ["unfinished", "Unfinished", ["queued", "parsing", "indexing"]],
  ["queued", "Queued", ["queued"]],
  ["parsing", "Parsing", ["parsing"]],
  ["indexing", "Indexing", ["indexing"]],
  ["completed", "Completed", ["completed"]],
  ["failed", "Failed", ["failed"]],
  ["cancelled", "Cancelled", ["cancelled"]],
]);

const UNFINISHED = new Set(["queued", "parsing", "indexing"]);
/** @type {Record<string, string>} */
const CLASSES = { completed: "good", failed: "bad", parsing: "active", indexing: "active", deleting: "warn" };

/** @param {string} status @returns {boolean} */
export function isUnfinished(status) {
  return UNFINISHED.has(status);
}

/** @param {string} status @returns {boolean} whether it can be queued again */
export function isRetryable(status) {
  return status === "failed" || status === "cancelled";
}

/** @param {string} text @returns {string} */
export function capital(text) {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/**
 * @param {Pick<Document, "status" | "progress">} document
 * @returns {HTMLElement}
 */
export function stateBadge({ status, progress }) {
  if (progress.activity === "stalled") {
    return h("span", { class: "badge warn", title: progress.activity_reason }, `${capital(status)}, stalled`);
  }
  const share = status === "parsing" || status === "indexing" ? ` ${progress.percent} %` : "";
  const label = progress.stage === "parsed" ? "Waits for indexing" : capital(status) + share;
  return h("span", { class: `badge ${CLASSES[status] ?? ""}`, title: progress.activity_reason }, label);
}

/** @param {Pick<Document, "filename" | "path">} document @returns {string} its folder, or "" */
export function folderOf({ filename, path }) {
  return path?.endsWith(`/${filename}`) ? path.slice(0, -filename.length - 1) : "";
}

// Texts with marked passages. The API counts characters as Python does: one for each code point.

import { h } from "./dom.js";

/** @typedef {{start: number, end: number}} Range characters from `start` to `end` */

/**
 * Return the parts of a text, those within the ranges as `mark` elements.
 *
 * @param {string} text
 * @param {Range[]} ranges
 * @returns {(string | HTMLElement)[]}
 */
export function marked(text, ranges) {
  const characters = Array.from(text);
  /** @type {(string | HTMLElement)[]} */
  const parts = [];
  let at = 0;
  for (const { start, end } of [...ranges].sort((one, other) => one.start - other.start)) {
    const from = Math.max(at, start);
    if (end <= from) continue;
    if (from > at) parts.push(characters.slice(at, from).join(""));
    parts.push(h("mark", {}, characters.slice(from, end).join("")));
    at = end;
  }
  if (at < characters.length) parts.push(characters.slice(at).join(""));
  return parts;
}

/**
 * Return a text in two parts.
 *
 * @param {string} text
 * @param {number} characters of the first part
 * @returns {[string, string]}
 */
export function split(text, characters) {
  if (characters <= 0) return ["", text];
  const all = Array.from(text);
  return [all.slice(0, characters).join(""), all.slice(characters).join("")];
}

/**
 * Say where in its document a passage is.
 *
 * @param {{page: number | null, last_page?: number | null, section: string | null}} place
 * @returns {string} such as `page 3–4 · Manual › Warranty`, or ""
 */
export function placeOf({ page, last_page: lastPage, section }) {
  const isSpan = lastPage !== null && lastPage !== undefined && lastPage !== page;
  const pages = page === null ? "" : isSpan ? `pages ${page}–${lastPage}` : `page ${page}`;
  return [pages, section ?? ""].filter(Boolean).join(" · ");
}

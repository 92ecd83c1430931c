// What a search has found.

import { root } from "../api.js";
import { h } from "../dom.js";
import { marked, placeOf } from "../passages.js";

/** @typedef {import("../wire.js").Hit} Hit */
/** @typedef {import("../wire.js").HitPlace} HitPlace */

/**
 * @param {Hit[]} hits
 * @returns {HTMLElement[]}
 */
export function hitItems(hits) {
  const sparse = Math.max(0, ...hits.map((hit) => hit.sparse_score ?? 0));
  const reranks = hits.flatMap((hit) => hit.rerank_score ?? []);
  const range = { sparse, low: Math.min(...reranks), high: Math.max(...reranks) };
  return hits.map((hit, position) => hitItem(hit, position, range));
}

/**
 * @param {Hit} hit
 * @param {number} position
 * @param {{sparse: number, low: number, high: number}} range of the scores that have no highest value of their own
 * @returns {HTMLElement}
 */
function hitItem(hit, position, range) {
  const attributes = Object.entries(hit.attributes);
  return h(
    "li",
    { class: "hit" },
    h(
      "div",
      { class: "hit-body" },
      h("h2", {}, h("span", { class: "hit-number", "aria-hidden": "true" }, position + 1), placeLink(hit)),
      h("p", { class: "muted small" }, [hit.collection, placeOf(hit)].filter(Boolean).join(" · ")),
      h("p", { class: "hit-text" }, ...marked(hit.text, hit.highlights)),
      attributes.length > 0 &&
        h(
          "p",
          { class: "row" },
          ...attributes.map(([name, value]) => h("span", { class: "badge" }, `${name}: ${value}`)),
        ),
      hit.also_in.length > 0 &&
        h("p", { class: "small" }, "The same text is in ", ...joined(hit.also_in.map(placeLink)), "."),
    ),
    scores(hit, range),
  );
}

/** @param {Node[]} nodes @returns {(Node | string)[]} with commas between them */
function joined(nodes) {
  return nodes.flatMap((node, index) => (index === 0 ? [node] : [", ", node]));
}

/** @param {HitPlace} place @returns {HTMLElement} */
function placeLink({ document_id: id, filename, chunk_index: chunk }) {
  return h("a", { href: `${root}/console/documents/${encodeURIComponent(id)}#chunk-${chunk}` }, h("bdi", {}, filename));
}

/**
 * @param {Hit} hit
 * @param {{sparse: number, low: number, high: number}} range
 * @returns {HTMLElement}
 */
function scores(hit, { sparse, low, high }) {
  const { rerank_score: rerank, dense_score: dense, sparse_score: words } = hit;
  /** @type {[string, string, number | null, number][]} label, explanation, value, share of the bar */
  const rows = [
    ["Fused", "Both rankings together, 0 to 1", hit.score, hit.score],
    ["Dense", "Cosine of the meanings", dense, dense ?? 0],
    ["Sparse", "BM25 of the words; the bar is relative to the best hit", words, sparse > 0 ? (words ?? 0) / sparse : 0],
    [
      "Rerank",
      "The cross-encoder; the bar is relative to the other hits",
      rerank,
      high > low ? ((rerank ?? low) - low) / (high - low) : 1,
    ],
  ];
  return h(
    "dl",
    { class: "scores", "aria-label": "Scores" },
    ...rows
      .filter(([label, , value]) => value !== null || label !== "Rerank")
      .map(([label, explanation, value, share]) =>
        h(
          "div",
          { title: explanation },
          h("dt", {}, label),
          h("dd", {}, bar(value === null ? 0 : share), h("span", {}, value === null ? "–" : value.toFixed(2))),
        ),
      ),
    ranks(hit),
  );
}

/** Say where the hit was in each ranking, if the answer explains it. @param {Hit} hit @returns {HTMLElement | null} */
function ranks(hit) {
  const { dense_rank: dense, sparse_rank: sparse } = hit.explanation ?? {};
  const parts = [
    typeof dense === "number" && `${ordinal(dense)} by meaning`,
    typeof sparse === "number" && `${ordinal(sparse)} by words`,
  ].filter(Boolean);
  return parts.length === 0 ? null : h("div", { class: "ranks" }, h("dt", {}, "Rank"), h("dd", {}, parts.join(", ")));
}

/** @param {number} rank @returns {string} */
function ordinal(rank) {
  const endings = { one: "st", two: "nd", few: "rd", many: "th", other: "th", zero: "th" };
  return `${rank}${endings[new Intl.PluralRules("en", { type: "ordinal" }).select(rank)]}`;
}

/** @param {number} share @returns {HTMLElement} */
function bar(share) {
  const fill = h("span", { class: "score-fill" });
  fill.style.width = `${Math.round(Math.min(Math.max(share, 0), 1) * 100)}%`;
  return h("span", { class: "score-bar", "aria-hidden": "true" }, fill);
}

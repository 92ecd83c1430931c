// How much of a collection is searchable, and why the rest is not.

import { get } from "../api.js";
import { openDialog } from "../dialogs.js";
import { fill, h } from "../dom.js";
import { bytes, count, quoted } from "../format.js";
import { attempt } from "../toast.js";

/** @typedef {import("../wire.js").Coverage} Coverage */

/** @param {Record<string, number>} reasons @returns {number} */
export function total(reasons) {
  return Object.values(reasons).reduce((sum, value) => sum + value, 0);
}

/**
 * Show the report of a collection.
 *
 * @param {string} collection
 */
export async function showCoverage(collection) {
  const address = `/v1/rag/collections/${encodeURIComponent(collection)}`;
  /** @type {Coverage} */
  const coverage = await get(`${address}/coverage`);
  const skipped = h("div", { class: "stack" });
  const dialog = openDialog(
    `Coverage of ${quoted(collection)}`,
    figures(coverage),
    ...reasons("Failed", coverage.failed),
    ...reasons("Skipped", coverage.skipped),
    skipped,
  );
  if (total(coverage.skipped) > 0) await attempt(() => showSkipped(address, skipped, dialog));
}

/** @param {Coverage} coverage @returns {HTMLElement} */
function figures(coverage) {
  const shown = [
    ["Documents", count(coverage.documents)],
    ["Searchable", count(coverage.indexed)],
    ["Of these, an older version", count(coverage.stale)],
    ["Waiting or in work", count(coverage.pending)],
    ["Failed", count(total(coverage.failed))],
    ["Files skipped", count(total(coverage.skipped))],
    ["Chunks", count(coverage.chunks)],
    ["Size of the originals", bytes(coverage.size_bytes)],
  ];
  return h(
    "dl",
    { class: "figures" },
    ...shown.map(([label, value]) => h("div", {}, h("dt", {}, label), h("dd", {}, value))),
  );
}

/** @param {string} title @param {Record<string, number>} byReason @returns {HTMLElement[]} */
function reasons(title, byReason) {
  const entries = Object.entries(byReason).sort((one, other) => other[1] - one[1]);
  if (entries.length === 0) return [];
  const rows = entries.map(([reason, number]) =>
    h("tr", {}, h("td", {}, reason), h("td", { class: "number" }, count(number))),
  );
  const head = h("tr", {}, h("th", { scope: "col" }, "Reason"), h("th", { scope: "col", class: "number" }, "Number"));
  return [
    h("h3", {}, title),
    h("div", { class: "table-frame" }, h("table", {}, h("thead", {}, head), h("tbody", {}, ...rows))),
  ];
}

/**
 * @param {string} address of the collection
 * @param {HTMLElement} section
 * @param {HTMLDialogElement} dialog
 */
async function showSkipped(address, section, dialog) {
  const body = h("tbody");
  const more = h("button", { type: "button", class: "button" }, "More files");
  /** @type {string | undefined} */
  let after;
  const load = async () => {
    const page = await get(`${address}/skipped`, { limit: 100, after });
    for (const file of page.data) {
      body.append(
        h("tr", {}, h("td", {}, file.path, h("div", { class: "muted small" }, file.folder)), h("td", {}, file.reason)),
      );
    }
    after = page.last_id;
    more.hidden = !page.has_more;
    return page.data.length;
  };
  if ((await load()) === 0 || !dialog.open) return;
  more.onclick = () => void attempt(load);
  const head = h("tr", {}, h("th", { scope: "col" }, "File"), h("th", { scope: "col" }, "Reason"));
  fill(
    section,
    h("h3", {}, "Skipped files of watched folders"),
    h(
      "div",
      { class: "table-frame skipped-files", tabindex: 0, role: "region", "aria-label": "Skipped files" },
      h("table", {}, h("thead", {}, head), body),
    ),
    more,
  );
}

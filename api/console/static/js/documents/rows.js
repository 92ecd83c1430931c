// The rows of the documents page: a document, or a file that is being sent.

import { root } from "../api.js";
import { fill, h, icon, iconButton } from "../dom.js";
import { bytes, count, quoted, time } from "../format.js";
import { folderOf, isRetryable, isUnfinished, stateBadge } from "./states.js";

/** @typedef {import("./listing.js").Entry} Entry */
/** @typedef {import("../wire.js").Document} Document */
/** @typedef {import("../upload.js").Upload} Upload */

/**
 * @typedef {object} Actions
 * @property {(document: Document) => void} retry
 * @property {(document: Document) => void} cancel
 * @property {(document: Document) => void} remove
 * @property {(upload: Upload) => void} sendAgain
 * @property {(upload: Upload) => void} dismiss
 */

/**
 * @param {Entry} entry
 * @param {Actions} actions
 * @returns {import("../virtual-list.js").Row<Entry>}
 */
export function makeRow(entry, actions) {
  return "upload" in entry ? uploadRow(actions, entry) : documentRow(actions, entry);
}

/**
 * @param {Actions} actions
 * @param {import("./listing.js").DocumentEntry} first
 * @returns {import("../virtual-list.js").Row<Entry>}
 */
function documentRow(actions, first) {
  let { document } = first;
  const link = h("a", {
    class: "document-name",
    href: `${root}/console/documents/${encodeURIComponent(document.id)}`,
  });
  const detail = h("span", { class: "document-detail" });
  const [state, chunks, size, when] = [cell("state"), cell("chunks"), cell("size"), cell("when")];
  const buttons = cell("actions needs-write");
  const element = row(icon("documents"), cell("what", link, detail), state, chunks, size, when, buttons);
  let shownActions = "";

  const update = () => {
    const { status, error, chunk_count: chunkCount, progress } = document;
    const isActive = status === "parsing" || status === "indexing";
    fill(link, document.filename);
    link.title = document.path ?? document.filename;
    const folder = folderOf(document);
    fill(detail, error ?? [document.collection, folder].filter(Boolean).join(" · "));
    detail.classList.toggle("error-text", error !== null);
    detail.title = error ?? "";
    fill(state, stateBadge(document), isActive && bar(progress.percent, `Progress of ${quoted(document.filename)}`));
    fill(
      chunks,
      status === "indexing" && chunkCount
        ? `${count(progress.chunks_indexed)} of ${count(chunkCount)}`
        : count(chunkCount),
    );
    fill(size, bytes(document.size_bytes));
    fill(when, time(document.updated_at));
    // Buttons stay the same elements while they can, so that the one with the focus keeps it.
    const kind = isUnfinished(status) ? "cancel" : isRetryable(status) ? "retry" : "none";
    if (kind === shownActions) return;
    shownActions = kind;
    fill(
      buttons,
      kind === "cancel" && iconButton("stop", `Cancel ${quoted(document.filename)}`, () => actions.cancel(document)),
      kind === "retry" && iconButton("retry", `Try ${quoted(document.filename)} again`, () => actions.retry(document)),
      iconButton("delete", `Delete ${quoted(document.filename)}`, () => actions.remove(document)),
    );
  };
  update();
  return {
    element,
    update: (entry) => {
      if ("document" in entry) ({ document } = entry);
      update();
    },
  };
}

/**
 * @param {Actions} actions
 * @param {import("./listing.js").UploadEntry} entry
 * @returns {import("../virtual-list.js").Row<Entry>}
 */
function uploadRow(actions, { upload }) {
  const [state, buttons] = [cell("state"), cell("actions")];
  const detail = h("span", { class: "document-detail" });
  const name = h("span", { class: "document-name", title: upload.name }, upload.name);
  const size = cell("size", bytes(upload.file.size));
  const element = row(icon("upload"), cell("what", name, detail), state, cell("chunks"), size, cell("when"), buttons);
  const update = () => {
    const percent = Math.round(upload.sent * 100);
    fill(detail, upload.error);
    detail.title = upload.error;
    detail.classList.toggle("error-text", upload.error !== "");
    if (upload.error !== "") {
      fill(state, h("span", { class: "badge bad" }, "Not sent"));
      fill(
        buttons,
        iconButton("retry", `Send ${quoted(upload.name)} again`, () => actions.sendAgain(upload)),
        iconButton("close", `Dismiss ${quoted(upload.name)}`, () => actions.dismiss(upload)),
      );
    } else if (percent === 0) fill(state, h("span", { class: "badge" }, "Waits to be sent"));
    else
      fill(
        state,
        h("span", { class: "badge active" }, `Sending ${percent} %`),
        bar(percent, `Sending ${quoted(upload.name)}`),
      );
  };
  update();
  return { element, update };
}

/** @param {SVGElement} symbol @param {...HTMLElement} cells @returns {HTMLElement} */
function row(symbol, ...cells) {
  cells[0]?.prepend(symbol);
  return h("div", { class: "virtual-row document-row", role: "row" }, ...cells);
}

/** @param {string} name @param {...(Node | string)} children @returns {HTMLElement} */
function cell(name, ...children) {
  return h("div", { class: `cell-${name}`, role: "cell" }, ...children);
}

/** @param {number} percent @param {string} label @returns {HTMLProgressElement} */
function bar(percent, label) {
  return h("progress", { max: 100, value: percent, "aria-label": label });
}

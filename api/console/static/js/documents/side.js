// The collections and the watched folders beside the list of documents.

import { get, post } from "../api.js";
import { confirmed } from "../dialogs.js";
import { byId, fill, h } from "../dom.js";
import { count, counted, quoted } from "../format.js";
import { attempt } from "../toast.js";

/** @typedef {import("../wire.js").Collection} Collection */
/** @typedef {import("../wire.js").WatchedFolder} WatchedFolder */

/** @type {Record<WatchedFolder["state"], [string, string]>} label and class of the badge */
const STATES = {
  starting: ["Starting", ""],
  watched: ["Watched", "good"],
  held: ["Waits for you", "warn"],
  missing: ["Vanished", "warn"],
  stopped: ["Not watched", "bad"],
};

/** The choice that has been scrolled to. @type {string | null} */
let shownChoice = null;
/** The watched folders that are shown, as JSON. */
let shownFolders = "";

/**
 * @param {Collection[]} collections
 * @param {string} chosen the name of one, or "" for all
 * @param {(name: string) => void} choose
 */
export function showCollections(collections, chosen, choose) {
  const all = collections.reduce((sum, { coverage }) => sum + coverage.documents, 0);
  const entries = [
    { name: "", label: "All documents", documents: all, failed: 0 },
    ...collections.map(({ name, coverage }) => ({
      name,
      label: name,
      documents: coverage.documents,
      failed: Object.values(coverage.failed).reduce((sum, value) => sum + value, 0),
    })),
  ];
  const list = byId("collections");
  const focused = document.activeElement?.getAttribute("data-name");
  fill(
    list,
    ...entries.map(({ name, label, documents, failed }) =>
      h(
        "li",
        {},
        h(
          "a",
          {
            href: addressOf(name),
            class: "side-item",
            "data-name": name,
            "aria-current": name === chosen ? "true" : null,
            title: label,
            onclick: (/** @type {MouseEvent} */ event) => {
              if (event.metaKey || event.ctrlKey) return;
              event.preventDefault();
              choose(name);
            },
          },
          h("span", { class: "side-label" }, label),
          failed > 0 &&
            h(
              "span",
              { class: "badge bad", title: `${count(failed)} failed` },
              count(failed),
              h("span", { class: "visually-hidden" }, " failed"),
            ),
          h("span", { class: "side-count" }, count(documents)),
        ),
      ),
    ),
  );
  // On narrow screens the collections are beside each other.
  const current = chosen === shownChoice ? null : list.querySelector("[aria-current]");
  if (entries.length > 1) shownChoice = chosen;
  if (current instanceof HTMLElement && list.scrollWidth > list.clientWidth) {
    list.scrollLeft = current.offsetLeft - list.offsetLeft - (list.clientWidth - current.clientWidth) / 2;
  }
  if (focused !== null && focused !== undefined) {
    /** @type {HTMLElement | null} */ (list.querySelector(`[data-name="${CSS.escape(focused)}"]`))?.focus();
  }
}

/** @param {string} name @returns {string} */
function addressOf(name) {
  return name === "" ? location.pathname : `?${new URLSearchParams({ collection: name })}`;
}

/** Load the watched folders and show them, with those that wait for a person above the list. */
export async function showFolders() {
  /** @type {WatchedFolder[]} */
  const folders = (await get("/v1/watch")).data;
  const answered = JSON.stringify(folders);
  if (answered === shownFolders) return; // so that a button keeps the focus
  shownFolders = answered;
  byId("folders-section").hidden = folders.length === 0;
  fill(byId("folders"), ...folders.map(folderItem));
  const waiting = folders.filter(({ state, missing }) => (state === "held" || state === "missing") && missing > 0);
  fill(byId("notices"), ...waiting.map(waitingNotice));
}

/** @param {WatchedFolder} folder @returns {HTMLElement} */
function folderItem({ path, collection, mode, state, documents, unreadable }) {
  const [label, kind] = STATES[state];
  return h(
    "li",
    { class: "folder" },
    h("div", { class: "folder-path", title: path }, path),
    h(
      "div",
      { class: "muted small row" },
      h("span", { class: `badge ${kind}` }, label),
      `${counted(documents, "document")} in ${quoted(collection)}`,
      mode !== "mirror" && h("span", { class: "badge" }, mode),
      unreadable > 0 && h("span", { class: "badge warn" }, `${count(unreadable)} unreadable`),
    ),
  );
}

/** @param {WatchedFolder} folder @returns {HTMLElement} */
function waitingNotice({ path, state, missing, confirmed: isConfirmed }) {
  const files = counted(missing, "file");
  const what =
    state === "missing"
      ? `The watched folder ${quoted(path)} has vanished`
      : `Most files of the watched folder ${quoted(path)} are gone`;
  const ask = async () => {
    const isSure = await confirmed({
      title: "Delete the documents?",
      text: `${files} of ${quoted(path)} ${missing === 1 ? "is" : "are"} missing. Confirm only if they were deleted on purpose: their documents are then deleted.`,
      action: `Delete ${counted(missing, "document")}`,
    });
    if (!isSure) return;
    await attempt(async () => {
      await post("/v1/watch/confirm", { path });
      await showFolders();
    });
  };
  return h(
    "div",
    { class: "notice warn folder-notice" },
    h(
      "p",
      {},
      `${what}. ${counted(missing, "document")} ${missing === 1 ? "is" : "are"} kept until you say that the files were deleted on purpose, or until they are back.`,
    ),
    isConfirmed
      ? h("p", { class: "muted" }, "Confirmed. The documents are being deleted.")
      : h(
          "button",
          { type: "button", class: "button danger needs-write", onclick: () => void ask() },
          "Confirm the deletion…",
        ),
  );
}

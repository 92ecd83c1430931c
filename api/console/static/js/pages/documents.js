// The documents page: collections, watched folders, and the list of documents.

import { ApiError, post } from "../api.js";
import { keepTimesRight } from "../clock.js";
import { coalesced } from "../coalesce.js";
import {
  cancelUnfinished,
  createCollection,
  deleteCollection,
  deleteDocument,
  documentAddress,
  loadCollections,
  reindexCollection,
  renameCollection,
  retryFailed,
} from "../documents/actions.js";
import { showCoverage, total } from "../documents/coverage.js";
import { Listing } from "../documents/listing.js";
import { makeRow } from "../documents/rows.js";
import { showCollections, showFolders } from "../documents/side.js";
import { STATE_FILTERS } from "../documents/states.js";
import { byId, fill, h } from "../dom.js";
import { acceptChosen, acceptDrops } from "../drop.js";
import { follow } from "../events.js";
import { counted, quoted } from "../format.js";
import { actionMenu } from "../menu.js";
import { signedIn } from "../session.js";
import { attempt, toast } from "../toast.js";
import { uploadFiles } from "../upload.js";
import { VirtualList } from "../virtual-list.js";

/** @typedef {import("../documents/listing.js").Entry} Entry */
/** @typedef {import("../wire.js").Collection} Collection */
/** @typedef {import("../wire.js").Document} Document */

const DEFAULT_COLLECTION = "default";
const TYPING_MS = 250;
/** The watched folders are asked for at most this often, and everything after changes that were missed. */
const FOLDERS_MS = 3000;
const MISSED_MS = 2000;

/** How many drops are being sent. */
let sending = 0;
/** @type {Collection[]} */
let collections = [];
const table = byId("documents-table");
const scroller = byId("documents-scroller");
const filters = byId("filters", HTMLFormElement);
const menu = actionMenu("More actions", "More…");
byId("listing-actions").append(menu.element);

const listing = new Listing(
  () => shown(),
  (added) => {
    list.addedAbove(added);
    shown();
  },
  (error) => toast(error.message, "error"),
);
/** @type {VirtualList<Entry>} */
const list = new VirtualList(scroller, byId("documents-space"), {
  count: () => listing.count(),
  itemAt: (index) => listing.at(index),
  keyOf: (entry) => entry.key,
  makeRow: (entry) => makeRow(entry, actions),
  onseen: (last) => listing.need(last),
});

/** @type {import("../documents/rows.js").Actions} */
const actions = {
  retry: (document) => void attempt(async () => listing.update(await post(`${documentAddress(document.id)}/retry`))),
  cancel: (document) => void attempt(async () => listing.update(await post(`${documentAddress(document.id)}/cancel`))),
  remove: (document) =>
    void attempt(async () => {
      if (await deleteDocument(document)) listing.remove(document.id);
    }),
  sendAgain: (upload) => {
    listing.removeUpload(upload);
    void send([{ file: upload.file, name: upload.name }]);
  },
  dismiss: (upload) => listing.removeUpload(upload),
};

function shown() {
  list.refresh();
  const isEmpty = !listing.hasMore && listing.loaded === 0;
  byId("empty").hidden = !isEmpty;
  table.hidden = isEmpty;
  if (isEmpty) {
    const isFiltered = ["state", "type", "name"].some((name) => new URLSearchParams(location.search).has(name));
    byId("empty-text").textContent = listing.problem
      ? `The documents could not be loaded: ${listing.problem}`
      : isFiltered
        ? "No document matches these filters."
        : "There are no documents here yet. Drop files or folders anywhere on this page, or choose them.";
    byId("clear-filters").hidden = !isFiltered;
  }
}

/** Show what the page's address says. */
function showAddress() {
  const query = new URLSearchParams(location.search);
  const read = (/** @type {string} */ name) => query.get(name) ?? "";
  const filter = { collection: read("collection"), state: read("state"), type: read("type"), name: read("name") };
  for (const name of /** @type {const} */ (["state", "type", "name"])) {
    const field = /** @type {HTMLInputElement} */ (filters.elements.namedItem(name));
    if (field !== document.activeElement) field.value = filter[name];
  }
  scroller.scrollTop = 0;
  listing.show(filter);
  showCounts();
}

/** @param {Record<string, string>} changes @param {boolean} isStep whether going back undoes it */
function changeAddress(changes, isStep) {
  const query = new URLSearchParams(location.search);
  for (const [name, value] of Object.entries(changes)) {
    if (value === "") query.delete(name);
    else query.set(name, value);
  }
  const address = query.size > 0 ? `?${query}` : location.pathname;
  if (isStep) history.pushState(null, "", address);
  else history.replaceState(null, "", address);
  showAddress();
}

/** Show the collections, and the figures and actions of the one that is chosen. */
function showCounts() {
  const { collection } = listing.filter;
  showCollections(collections, collection, (name) => changeAddress({ collection: name }, true));
  const chosen = collections.filter(({ name }) => collection === "" || name === collection);
  const sum = (/** @type {(one: Collection["coverage"]) => number} */ of) =>
    chosen.reduce((all, { coverage }) => all + of(coverage), 0);
  const documents = sum((one) => one.documents);
  const failed = sum((one) => total(one.failed));
  const pending = sum((one) => one.pending);
  listing.expected = documents;
  byId("listing-title").textContent = collection || "All documents";
  fill(
    byId("listing-figures"),
    [
      counted(documents, "document"),
      counted(
        sum((one) => one.indexed),
        "searchable",
        "searchable",
      ),
      pending > 0 && `${counted(pending, "unfinished", "unfinished")}`,
      failed > 0 && `${counted(failed, "failed", "failed")}`,
    ]
      .filter(Boolean)
      .join(" · "),
    collection !== "" && " · ",
    collection !== "" &&
      h(
        "button",
        { type: "button", class: "link-button", onclick: () => void attempt(() => showCoverage(collection)) },
        "Coverage report",
      ),
  );
  showMenu(collection, documents, failed, pending);
  list.refresh();
}

/** @param {string} collection @param {number} documents @param {number} failed @param {number} pending */
function showMenu(collection, documents, failed, pending) {
  const then = (/** @type {() => Promise<unknown>} */ action) => () => void attempt(action);
  const rename = async () => {
    const name = await renameCollection(collection);
    if (name === null) return;
    await refreshCollections();
    changeAddress({ collection: name }, false);
  };
  const remove = async () => {
    if (!(await deleteCollection(collection, documents))) return;
    await refreshCollections();
    changeAddress({ collection: "" }, false);
  };
  menu.show([
    ...(failed > 0 ? [{ label: "Try all failed again", run: then(() => retryFailed(collection)) }] : []),
    ...(pending > 0 ? [{ label: "Cancel all unfinished…", run: then(() => cancelUnfinished(collection)) }] : []),
    ...(collection
      ? [
          { label: "Index all again…", run: then(() => reindexCollection(collection)) },
          { label: "Rename the collection…", run: then(rename) },
          { label: "Delete the collection…", danger: true, run: then(remove) },
        ]
      : []),
  ]);
}

async function refreshCollections() {
  collections = await loadCollections();
  showCounts();
}

/** @param {{file: File, name: string}[]} files */
async function send(files) {
  if (files.length === 0 || document.body.classList.contains("read-only")) return;
  scroller.scrollTop = 0;
  const collection = listing.filter.collection || DEFAULT_COLLECTION;
  sending += 1;
  await uploadFiles(files, collection, (upload) => {
    listing.updateUpload(upload);
    if (upload.document?.duplicate) toast(`${quoted(upload.name)} is in ${quoted(collection)} already.`);
  });
  sending -= 1;
}

/** @param {Collection} changed */
function collectionChanged(changed) {
  const at = collections.findIndex(({ id, name }) => id === changed.id || name === changed.name);
  if (at < 0) collections = [...collections, changed];
  else collections[at] = changed;
  showCounts();
  refreshFoldersSoon();
}

const refreshFoldersSoon = coalesced(showFolders, FOLDERS_MS);
const refreshAll = coalesced(async () => {
  listing.refresh();
  await refreshCollections();
  await showFolders();
}, MISSED_MS);

function listen() {
  follow(["documents"], {
    document: (/** @type {Document} */ document) => listing.update(document),
    "document.deleted": ({ id }) => listing.remove(id),
    collection: collectionChanged,
    watched_folders: refreshFoldersSoon,
    reset: refreshAll,
  });
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) refreshFoldersSoon();
  });
}

function wire() {
  const state = /** @type {HTMLSelectElement} */ (filters.elements.namedItem("state"));
  fill(state, ...STATE_FILTERS.map(([value, label]) => h("option", { value }, label)));
  /** @type {number | undefined} */
  let timer;
  const apply = (/** @type {boolean} */ isStep) => {
    const form = new FormData(filters);
    const values = ["state", "type", "name"].map((name) => [name, String(form.get(name) ?? "").trim()]);
    changeAddress(Object.fromEntries(values), isStep);
  };
  filters.addEventListener("input", (event) => {
    clearTimeout(timer);
    // Going back undoes a choice, but not each letter.
    if (event.target === state) apply(true);
    else timer = window.setTimeout(apply, TYPING_MS, false);
  });
  filters.addEventListener("submit", (event) => {
    event.preventDefault();
    clearTimeout(timer);
    apply(false);
  });
  byId("clear-filters").onclick = () => changeAddress({ state: "", type: "", name: "" }, true);
  window.addEventListener("popstate", showAddress);
  // What has not been sent is lost with the page, so the browser asks.
  window.addEventListener("beforeunload", (event) => {
    if (sending > 0) event.preventDefault();
  });

  const [files, folder] = [byId("files", HTMLInputElement), byId("folder", HTMLInputElement)];
  byId("choose-files").onclick = () => files.click();
  byId("choose-folder").onclick = () => folder.click();
  acceptChosen(files, (chosen) => void send(chosen));
  acceptChosen(folder, (chosen) => void send(chosen));
  acceptDrops((dropped) => void send(dropped));
  byId("new-collection").onclick = () =>
    void attempt(async () => {
      const name = await createCollection();
      if (name === null) return;
      await refreshCollections();
      changeAddress({ collection: name }, true);
    });
}

async function start() {
  wire();
  keepTimesRight();
  try {
    const session = await signedIn();
    document.body.classList.toggle("read-only", !session.scopes.includes("documents:write"));
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    return; // the shell has shown it
  }
  showAddress();
  listen();
  await attempt(refreshCollections);
  await attempt(showFolders);
}

void start();

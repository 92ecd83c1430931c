// The documents that match a filter, the newest first, loaded as they are scrolled to; and files being sent before them.

import { ApiError, get } from "../api.js";
import { STATE_FILTERS } from "./states.js";

/** @typedef {import("../wire.js").Document} Document */
/** @typedef {import("../upload.js").Upload} Upload */
/** @typedef {{collection: string, state: string, type: string, name: string}} Filter all "" for all documents */
/** @typedef {{key: string, upload: Upload}} UploadEntry */
/** @typedef {{key: string, document: Document}} DocumentEntry */
/** @typedef {UploadEntry | DocumentEntry} Entry */

const PAGE = 100;
/** Rows that are loaded before they are scrolled to. */
const AHEAD = 400;

/** A list of more rows is not loaded again as a whole. */
const MOST_REFRESHED = 1000;

let uploadsMade = 0;

/** What has been loaded of a list. */
class Rows {
  /** @type {DocumentEntry[]} */
  entries = [];
  /** @type {Map<string, DocumentEntry>} */
  byId = new Map();
  /** Whether there are documents that have not been loaded. */
  hasMore = true;

  /** @param {Document} document @param {boolean} isFirst whether it is put before the others */
  add(document, isFirst = false) {
    if (this.byId.has(document.id)) return;
    const entry = { key: document.id, document };
    if (isFirst) this.entries.unshift(entry);
    else this.entries.push(entry);
    this.byId.set(document.id, entry);
  }

  /** Rows are written again when their entry is another object. @param {Document} document @returns {boolean} */
  replace(document) {
    const known = this.byId.get(document.id);
    if (known === undefined) return false;
    const entry = { ...known, document };
    this.entries[this.entries.indexOf(known)] = entry;
    this.byId.set(document.id, entry);
    return true;
  }

  /** @param {string} id @returns {boolean} */
  remove(id) {
    const known = this.byId.get(id);
    if (known === undefined) return false;
    this.entries.splice(this.entries.indexOf(known), 1);
    this.byId.delete(id);
    return true;
  }
}

export class Listing {
  /** @type {Filter} */
  filter = { collection: "", state: "", type: "", name: "" };
  /** How many documents there are, if no filter but that of the collection is set; else 0. */
  expected = 0;
  /** Why the rows could not be loaded; "" if they could. */
  problem = "";
  /** @type {UploadEntry[]} */
  #uploads = [];
  #rows = new Rows();
  /** Takes the place of the others when it has as many rows as are seen. @type {Rows | null} */
  #fresh = null;
  /** @type {AbortController | null} */
  #loading = null;
  #wanted = 0;

  /**
   * @param {() => void} onchange
   * @param {(added: number) => void} onadded called with the number of rows that were put before all others
   * @param {(error: ApiError) => void} onerror
   */
  constructor(onchange, onadded, onerror) {
    this.onchange = onchange;
    this.onadded = onadded;
    this.onerror = onerror;
    this.#rows.hasMore = false; // until a filter is known
  }

  get hasMore() {
    return this.#rows.hasMore;
  }

  get loaded() {
    return this.#uploads.length + this.#rows.entries.length;
  }

  /** Return the number of rows, with those that are not loaded yet. */
  count() {
    if (!this.hasMore) return this.loaded;
    return Math.max(this.loaded + 8, this.#isWhole() ? this.expected + this.#uploads.length : 0);
  }

  /** @param {number} index @returns {Entry | undefined} */
  at(index) {
    const uploads = this.#uploads.length;
    return index < uploads ? this.#uploads[index] : this.#rows.entries[index - uploads];
  }

  /** @param {Filter} filter */
  show(filter) {
    this.filter = filter;
    this.#reload();
  }

  #reload() {
    this.#loading?.abort();
    this.#fresh = null;
    this.#rows = new Rows();
    this.onchange();
    void this.#load(this.#rows);
  }

  /** Load the rows again, because changes were missed. Those that are known are shown until the new ones are there. */
  refresh() {
    if (this.#rows.entries.length > MOST_REFRESHED) {
      this.#reload();
      return;
    }
    this.#loading?.abort();
    this.#fresh = new Rows();
    void this.#load(this.#fresh);
  }

  /** @param {number} last the row that must be loaded, with some after it */
  need(last) {
    this.#wanted = last;
    if (this.#loading === null && this.hasMore && this.loaded < last + AHEAD) void this.#load(this.#rows);
  }

  /** @param {Rows} rows */
  async #load(rows) {
    const loading = new AbortController();
    this.#loading = loading;
    try {
      while (rows.hasMore && this.#uploads.length + rows.entries.length < this.#wanted + AHEAD) {
        const after = rows.entries.at(-1)?.document.id;
        const answer = await get(`/v1/rag/documents${this.#query(after)}`, {}, loading.signal);
        if (this.#loading !== loading) return;
        this.problem = "";
        for (const document of answer.data) rows.add(document);
        rows.hasMore = answer.has_more;
        if (rows === this.#rows) this.onchange();
      }
      if (rows === this.#fresh) {
        [this.#rows, this.#fresh] = [rows, null];
        this.onchange();
      }
    } catch (error) {
      if (error instanceof DOMException) return;
      if (!(error instanceof ApiError)) throw error;
      this.#rows.hasMore = false;
      this.problem = error.message;
      this.onerror(error);
      this.onchange();
    } finally {
      if (this.#loading === loading) this.#loading = null;
    }
  }

  /** @param {string | undefined} after @returns {string} */
  #query(after) {
    const { collection, state, type, name } = this.filter;
    const query = new URLSearchParams({ limit: String(PAGE) });
    for (const status of STATE_FILTERS.find(([value]) => value === state)?.[2] ?? []) query.append("status", status);
    for (const [key, value] of Object.entries({ collection, type, name, after })) if (value) query.set(key, value);
    return `?${query}`;
  }

  /** Take what an event or an answer says of a document. @param {Document} document */
  update(document) {
    this.#fresh?.replace(document);
    if (this.#rows.replace(document)) this.onchange();
    else if (this.#isNew(document) && this.#matches(document)) {
      this.#fresh?.add(document, true);
      this.#rows.add(document, true);
      this.onadded(1);
    }
  }

  /** @param {string} id */
  remove(id) {
    this.#fresh?.remove(id);
    if (this.#rows.remove(id)) this.onchange();
  }

  /** Show how far files are that are being sent. @param {Upload} upload */
  updateUpload(upload) {
    const at = this.#uploads.findIndex((entry) => entry.upload === upload);
    const known = this.#uploads[at];
    if (known === undefined) {
      uploadsMade += 1;
      this.#uploads.push({ key: `upload-${uploadsMade}`, upload });
      this.onadded(1);
    } else if (upload.document === null) {
      this.#uploads[at] = { ...known };
      this.onchange();
    } else {
      this.#uploads.splice(at, 1);
      this.#fresh?.add(upload.document, true);
      this.#rows.add(upload.document, true);
      this.onchange();
    }
  }

  /** @param {Upload} upload */
  removeUpload(upload) {
    this.#uploads = this.#uploads.filter((entry) => entry.upload !== upload);
    this.onchange();
  }

  #isWhole() {
    const { state, type, name } = this.filter;
    return state === "" && type === "" && name === "";
  }

  /** @param {Document} document */
  #isNew(document) {
    const newest = this.#rows.entries[0]?.document;
    return newest === undefined ? !this.hasMore : document.created_at >= newest.created_at;
  }

  /** @param {Document} document */
  #matches({ collection, status, filename, path, media_type }) {
    const { filter } = this;
    const statuses = /** @type {readonly string[]} */ (
      STATE_FILTERS.find(([value]) => value === filter.state)?.[2] ?? []
    );
    const name = filter.name.toLowerCase();
    const type = filter.type.toLowerCase().replace(/^\./, "");
    return (
      (filter.collection === "" || filter.collection === collection) &&
      (statuses.length === 0 || statuses.includes(status)) &&
      (path ?? filename).toLowerCase().includes(name) &&
      (type === "" || filename.toLowerCase().endsWith(`.${type}`) || (media_type ?? "").startsWith(type))
    );
  }
}

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

let uploadsMade = 0;

export class Listing {
  /** @type {Filter} */
  filter = { collection: "", state: "", type: "", name: "" };
  /** How many documents there are, if no filter but that of the collection is set; else 0. */
  expected = 0;
  /** Whether there are rows that have not been loaded. */
  hasMore = false;
  /** @type {UploadEntry[]} */
  #uploads = [];
  /** @type {DocumentEntry[]} */
  #documents = [];
  /** @type {Map<string, DocumentEntry>} */
  #byId = new Map();
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
  }

  get loaded() {
    return this.#uploads.length + this.#documents.length;
  }

  /** Return the number of rows, with those that are not loaded yet. */
  count() {
    if (!this.hasMore) return this.loaded;
    return Math.max(this.loaded + 8, this.#isWhole() ? this.expected + this.#uploads.length : 0);
  }

  /** @param {number} index @returns {Entry | undefined} */
  at(index) {
    const uploads = this.#uploads.length;
    return index < uploads ? this.#uploads[index] : this.#documents[index - uploads];
  }

  /** @param {Filter} filter */
  show(filter) {
    this.filter = filter;
    this.reload();
  }

  /** Load from the first row again. */
  reload() {
    this.#loading?.abort();
    this.#loading = null;
    this.#documents = [];
    this.#byId = new Map();
    this.hasMore = true;
    this.onchange();
    this.need(this.#wanted);
  }

  /** @param {number} last the row that must be loaded, with some after it */
  need(last) {
    this.#wanted = last;
    if (this.#loading === null && this.hasMore && this.loaded < last + AHEAD) void this.#load();
  }

  async #load() {
    const loading = new AbortController();
    this.#loading = loading;
    try {
      while (this.hasMore && this.loaded < this.#wanted + AHEAD) {
        const after = this.#documents.at(-1)?.document.id;
        const answer = await get(`/v1/rag/documents${this.#query(after)}`, {}, loading.signal);
        if (this.#loading !== loading) return;
        for (const document of answer.data) this.#append(document);
        this.hasMore = answer.has_more;
        this.onchange();
      }
    } catch (error) {
      if (error instanceof DOMException) return;
      if (!(error instanceof ApiError)) throw error;
      this.hasMore = false;
      this.onerror(error);
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

  /** @param {Document} document */
  #append(document) {
    if (this.#byId.has(document.id)) return;
    const entry = { key: document.id, document };
    this.#documents.push(entry);
    this.#byId.set(document.id, entry);
  }

  /** Take what an event or an answer says of a document. @param {Document} document */
  update(document) {
    const known = this.#byId.get(document.id);
    if (known !== undefined) {
      // Rows are written again when their entry is another object.
      const entry = { ...known, document };
      this.#documents[this.#documents.indexOf(known)] = entry;
      this.#byId.set(document.id, entry);
      this.onchange();
    } else if (this.#isNew(document) && this.#matches(document)) {
      const entry = { key: document.id, document };
      this.#documents.unshift(entry);
      this.#byId.set(document.id, entry);
      this.onadded(1);
    }
  }

  /** @param {string} id */
  remove(id) {
    const known = this.#byId.get(id);
    if (known === undefined) return;
    this.#documents.splice(this.#documents.indexOf(known), 1);
    this.#byId.delete(id);
    this.onchange();
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
      if (this.#byId.has(upload.document.id)) this.onchange();
      else {
        this.#documents.unshift({ key: upload.document.id, document: upload.document });
        this.#byId.set(upload.document.id, /** @type {DocumentEntry} */ (this.#documents[0]));
        this.onchange();
      }
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
    const newest = this.#documents[0]?.document;
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

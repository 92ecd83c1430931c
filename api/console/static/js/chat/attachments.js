// The files of a conversation: they are uploaded into a collection of its own, and shown until they are searchable.

import { call, get } from "../api.js";
import { fill, h, iconButton } from "../dom.js";
import { attempt } from "../toast.js";
import { uploadFiles } from "../upload.js";

/** @typedef {import("./composer.js").NamedFile} NamedFile */
/** @typedef {import("../upload.js").Upload} Upload */

const SETTLED = new Set(["completed", "failed", "cancelled"]);
const PAGE = 100;

export class Attachments {
  /** @param {HTMLElement} element @param {() => void} onchange */
  constructor(element, onchange) {
    this.element = element;
    this.onchange = onchange;
    this.collection = "";
    /** @type {Upload[]} those that are being sent, and those that were refused */
    this.uploads = [];
    /** @type {Map<string, any>} documents by id */
    this.documents = new Map();
  }

  /** Show the files of a collection. @param {string} collection "" for none */
  async show(collection) {
    if (collection !== this.collection) {
      this.uploads = [];
      this.documents.clear();
    }
    this.collection = collection;
    this.render();
    if (collection !== "") await this.reload();
  }

  async reload() {
    const { collection } = this;
    if (collection === "") return;
    const found = await get("/v1/rag/documents", { collection, limit: PAGE });
    if (collection !== this.collection) return;
    this.documents = new Map(found.data.map((/** @type {any} */ document) => [document.id, document]));
    this.changed();
  }

  /** @param {NamedFile[]} files @param {string} collection */
  async add(files, collection) {
    this.collection = collection;
    await uploadFiles(files, collection, (upload) => {
      if (collection !== this.collection) return;
      if (!this.uploads.includes(upload)) this.uploads.push(upload);
      if (upload.document) {
        this.uploads = this.uploads.filter((other) => other !== upload);
        // An event may have told more of the document already.
        if (!this.documents.has(upload.document.id)) this.documents.set(upload.document.id, upload.document);
      }
      this.changed();
    });
  }

  /** @param {any} document as an event brings it */
  set(document) {
    if (document.collection !== this.collection) return;
    this.documents.set(document.id, document);
    this.changed();
  }

  /** @param {{id: string}} deleted */
  forget({ id }) {
    if (this.documents.delete(id)) this.changed();
  }

  /** How many files can not be searched yet, and may be soon. */
  get pending() {
    const sending = this.uploads.filter(({ error }) => error === "").length;
    return sending + [...this.documents.values()].filter(({ status }) => !SETTLED.has(status)).length;
  }

  changed() {
    this.render();
    this.onchange();
  }

  render() {
    const documents = [...this.documents.values()].sort((a, b) => a.created_at - b.created_at);
    this.element.hidden = documents.length + this.uploads.length === 0;
    fill(
      this.element,
      documents.map((document) => this.documentChip(document)),
      this.uploads.map((one) => this.uploadChip(one)),
    );
  }

  /** @param {any} document */
  documentChip(document) {
    const { status, error, filename, id } = document;
    const percent = document.progress?.percent ?? 0;
    const states = /** @type {Record<string, string>} */ ({
      completed: "searchable",
      failed: "failed",
      cancelled: "cancelled",
    });
    const state = states[status] ?? `${document.progress?.stage ?? status} ${percent} %`;
    const remove = () =>
      void attempt(async () => {
        await call("DELETE", `/v1/rag/documents/${encodeURIComponent(id)}`);
        this.forget({ id });
      });
    return chip(
      filename,
      state,
      status === "completed" ? "good" : status === "failed" ? "bad" : "active",
      error,
      remove,
    );
  }

  /** @param {Upload} upload */
  uploadChip(upload) {
    const remove = () => {
      this.uploads = this.uploads.filter((other) => other !== upload);
      this.changed();
    };
    if (upload.error !== "") return chip(upload.name, "refused", "bad", upload.error, remove);
    return chip(upload.name, `uploading ${Math.round(upload.sent * 100)} %`, "active", null, null);
  }
}

/**
 * @param {string} name
 * @param {string} state
 * @param {"good" | "bad" | "active"} kind
 * @param {string | null} error
 * @param {(() => void) | null} remove
 */
function chip(name, state, kind, error, remove) {
  return h(
    "li",
    { class: "chip" },
    h("bdi", { class: "chip-name", title: name }, name),
    h("span", { class: `badge ${kind}` }, state),
    remove && iconButton("close", `Remove ${name}`, remove),
    error && h("p", { class: "error-text small", dir: "auto" }, error),
  );
}

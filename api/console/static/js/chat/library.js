// What can be chosen for a conversation: the models that answer and the collections that are searched.

import { ApiError, get } from "../api.js";

/** @typedef {import("../conversations.js").Conversation} Conversation */
/** @typedef {import("../wire.js").Collection} Collection */
/** @typedef {import("../wire.js").Model} Model */

/** The collections of conversations' own files begin with this. */
const FILES_PREFIX = "chat-";
/** A request may name so many collections. */
const MAX_COLLECTIONS = 64;
/** The model that the program brings, unless it was given another name. The server says which it is once it is loaded. */
const STARTER = "SmolLM2-135M-Instruct";

export class Library {
  /** @type {Model[]} */
  models = [];
  /** @type {Collection[]} */
  collections = [];
  /** Whether the key may read documents. */
  mayRead = true;

  async load() {
    await Promise.all([this.loadModels(), this.loadCollections()]);
  }

  async loadModels() {
    const answer = await get("/v1/models");
    this.models = answer.data.filter((/** @type {Model} */ { kind, collection }) => kind === "chat" && !collection);
  }

  async loadCollections() {
    try {
      this.collections = (await get("/v1/rag/collections")).data;
    } catch (error) {
      if (!(error instanceof ApiError) || error.status !== 403) throw error;
      this.mayRead = false;
    }
  }

  /** @param {Model} model as `/v1/events` sends it */
  setModel(model) {
    if (model.kind !== "chat" || model.collection) return;
    const position = this.models.findIndex(({ id }) => id === model.id);
    if (position < 0) this.models.push(model);
    else this.models[position] = model;
  }

  /** @param {Collection} collection as `/v1/events` sends it */
  setCollection(collection) {
    const position = this.collections.findIndex(({ name }) => name === collection.name);
    if (position < 0) this.collections.push(collection);
    else this.collections[position] = collection;
  }

  /** The model that answers if none is chosen. */
  get defaultModel() {
    return this.models.find((model) => model.default) ?? this.models[0];
  }

  /** @param {string} name @returns {boolean} whether it is the small model that the program brings to show how it works */
  isDemonstration(name) {
    const model = this.models.find(({ id }) => id === name);
    return model?.demonstration === true || name === STARTER;
  }

  /** @param {string} name of a model that is gone */
  forgetModel(name) {
    this.models = this.models.filter(({ id }) => id !== name);
  }

  /** The collections that a user chooses from: not those of conversations' files. */
  get shared() {
    return this.collections.filter(({ name }) => !name.startsWith(FILES_PREFIX));
  }

  /** How many documents can be searched, those of conversations aside. */
  get documents() {
    return this.shared.reduce((sum, collection) => sum + searchable(collection), 0);
  }

  /**
   * Return the `rag` of a request, or null for a chat without documents.
   *
   * @param {Conversation} conversation
   * @returns {{collections?: string[]} | null}
   */
  search({ collections }) {
    if (!this.mayRead) return null;
    if (collections !== "all") return collections.length > 0 ? { collections } : null;
    if (this.documents === 0) return null;
    const names = this.shared.map(({ name }) => name);
    return names.length === this.collections.length || names.length > MAX_COLLECTIONS ? {} : { collections: names };
  }

  /**
   * Return the name of the collection of a conversation's files.
   *
   * @param {string} conversation its id
   * @returns {string}
   */
  filesOf(conversation) {
    return FILES_PREFIX + conversation.slice(0, 8);
  }
}

/** @param {Collection} collection @returns {number} how many of its documents can be searched */
export function searchable({ coverage }) {
  return coverage.indexed + coverage.stale;
}

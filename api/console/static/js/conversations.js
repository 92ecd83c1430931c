// The conversations of this browser. Only this file knows that they are in IndexedDB.
//
// Each message is a record of its own, and a conversation's fields are changed one by one: so two windows that use the
// same conversation at once lose nothing. Messages form a tree by `parent`: an edited question, and an answer that is
// generated again, are further children of the same parent.

import { root } from "./api.js";
import { toJson, toMarkdown } from "./chat/export.js";

/**
 * @typedef {object} Conversation
 * @property {string} id
 * @property {string} title
 * @property {number} created Unix milliseconds
 * @property {number} updated Unix milliseconds
 * @property {string} model the model that answers; "": the server's default
 * @property {"all" | string[]} collections what is searched; none: a chat without documents
 * @property {string} files the collection of the files that were added in it, or ""
 * @property {string} system the system prompt, or ""
 * @property {number | null} temperature null: the server's default
 * @property {boolean} tools whether the model may call the server's functions
 * @property {string} leaf the last message of the branch that is shown, or ""
 */

/**
 * @typedef {object} Source a passage that an answer was built from
 * @property {number} index the number that citations have
 * @property {string} document_id
 * @property {string} file
 * @property {string} collection
 * @property {number} chunk_index
 * @property {number | null} page
 * @property {number | null} last_page
 * @property {string | null} section
 * @property {number | null} start offset in the document's text, in characters (not in UTF-16 units)
 * @property {number | null} end
 * @property {string} text
 * @property {{text: string, start: number, end: number}[]} highlights offsets in `text`
 */

/**
 * @typedef {object} ToolCall a function that the server ran
 * @property {string} id
 * @property {string} name
 * @property {string} arguments JSON as text
 * @property {unknown} result
 * @property {string | null} error
 * @property {boolean} done
 */

/**
 * @typedef {object} Waiting why an answer has not begun
 * @property {number} position how many jobs come before it
 * @property {number | null} seconds the estimated time until it starts
 * @property {boolean} loading whether the model is being loaded
 * @property {number | null} percent of the loading
 */

/**
 * @typedef {"done" | "indexing" | "sending" | "queued" | "running" | "completed" | "failed" | "cancelled"} State
 * `done` for questions. `indexing`: the question is sent when the conversation's files are searchable.
 */

/**
 * @typedef {object} Message
 * @property {string} id
 * @property {string} conversation
 * @property {string} parent "" for the first one
 * @property {"user" | "assistant"} role
 * @property {number} at Unix milliseconds
 * @property {string} text
 * @property {State} state
 * @property {string} job the durable job that answers, or ""
 * @property {number} event the number of the job's last event that is in this record
 * @property {string} model the model that answered
 * @property {string} reasoning
 * @property {ToolCall[]} calls
 * @property {Source[]} sources
 * @property {boolean} searched whether documents were searched
 * @property {boolean | null} grounded
 * @property {{question: string[], answer: string[]} | null} missing
 * @property {string} finish why the answer ended
 * @property {Waiting | null} waiting
 * @property {number} tokens of the answer
 * @property {number} seconds that generating took
 * @property {string} error
 */

/** @typedef {{conversation: string, message: string, removed: boolean}} Change */

const VERSION = 1;

/** @returns {string} */
export function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(12));
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

export class ConversationStore {
  /** @param {IDBDatabase} database @param {string} name */
  constructor(database, name) {
    this.database = database;
    this.channel = new BroadcastChannel(name);
  }

  /**
   * Open the conversations of an owner of this server.
   *
   * @param {string} owner
   * @returns {Promise<ConversationStore>}
   */
  static async open(owner) {
    const name = `llm-api${root}:${owner}`;
    const request = indexedDB.open(name, VERSION);
    request.onupgradeneeded = () => {
      request.result.createObjectStore("conversations", { keyPath: "id" });
      request.result.createObjectStore("messages", { keyPath: "id" }).createIndex("conversation", "conversation");
    };
    return new ConversationStore(await done(request), name);
  }

  /** @param {(change: Change) => void} handle is called when another window has changed something */
  onchange(handle) {
    this.channel.onmessage = (event) => handle(event.data);
  }

  /** @returns {Promise<Conversation[]>} the one that was used last comes first */
  async list() {
    /** @type {Conversation[]} */
    const all = await done(this.database.transaction("conversations").objectStore("conversations").getAll());
    return all.sort((a, b) => b.updated - a.updated);
  }

  /** @param {string} id @returns {Promise<{conversation: Conversation, messages: Message[]} | null>} */
  async load(id) {
    const transaction = this.database.transaction(["conversations", "messages"]);
    const [conversation, messages] = await Promise.all([
      done(transaction.objectStore("conversations").get(id)),
      done(transaction.objectStore("messages").index("conversation").getAll(id)),
    ]);
    return conversation ? { conversation, messages } : null;
  }

  /** @param {Conversation} conversation a new one */
  async save(conversation) {
    await done(this.#write("conversations").put(conversation));
    this.#tell(conversation.id);
  }

  /**
   * Change some fields of a conversation. Nothing happens if it was removed.
   *
   * @param {string} id
   * @param {Partial<Conversation>} changes
   */
  async change(id, changes) {
    const conversations = this.#write("conversations");
    const stored = await done(conversations.get(id));
    if (!stored) return;
    await done(conversations.put({ ...stored, ...changes, id }));
    this.#tell(id);
  }

  /** @param {string} id @param {string} title */
  async rename(id, title) {
    await this.change(id, { title });
  }

  /** @param {string} id */
  async remove(id) {
    const transaction = this.database.transaction(["conversations", "messages"], "readwrite");
    const messages = transaction.objectStore("messages");
    const keys = await done(messages.index("conversation").getAllKeys(id));
    await Promise.all([
      ...keys.map((key) => done(messages.delete(key))),
      done(transaction.objectStore("conversations").delete(id)),
    ]);
    this.#tell(id, "", true);
  }

  /**
   * Save a message, unless its conversation was removed or another window has saved more of the same answer.
   *
   * @param {Message} message
   */
  async saveMessage(message) {
    const transaction = this.database.transaction(["conversations", "messages"], "readwrite");
    const messages = transaction.objectStore("messages");
    const [conversation, stored] = await Promise.all([
      done(transaction.objectStore("conversations").get(message.conversation)),
      done(messages.get(message.id)),
    ]);
    if (!conversation || (stored && stored.job === message.job && stored.event > message.event)) return;
    await done(messages.put(message));
    this.#tell(message.conversation, message.id);
  }

  /**
   * Set the state of a message if it is still the expected one, so that only one window acts on it.
   *
   * @param {string} id
   * @param {State} expected
   * @param {State} next
   * @returns {Promise<boolean>} whether it was
   */
  async claim(id, expected, next) {
    const messages = this.#write("messages");
    const stored = await done(messages.get(id));
    if (stored?.state !== expected) return false;
    await done(messages.put({ ...stored, state: next }));
    this.#tell(stored.conversation, id);
    return true;
  }

  /** @param {string} text @returns {Promise<Conversation[]>} those with this text in their title or a message */
  async search(text) {
    const wanted = text.trim().toLowerCase();
    const all = await this.list();
    if (wanted === "") return all;
    /** @type {Set<string>} */
    const found = new Set();
    const request = this.database.transaction("messages").objectStore("messages").openCursor();
    await new Promise((resolve, reject) => {
      request.onerror = () => reject(request.error);
      request.onsuccess = () => {
        const cursor = request.result;
        if (cursor === null) return resolve(undefined);
        /** @type {Message} */
        const message = cursor.value;
        if (message.text.toLowerCase().includes(wanted)) found.add(message.conversation);
        cursor.continue();
      };
    });
    return all.filter(({ id, title }) => found.has(id) || title.toLowerCase().includes(wanted));
  }

  /**
   * Return a conversation as a file: JSON with all branches, or Markdown of the branch that is shown.
   *
   * @param {string} id
   * @param {"json" | "markdown"} format
   * @returns {Promise<File | null>}
   */
  async export(id, format) {
    const found = await this.load(id);
    if (found === null) return null;
    return format === "json"
      ? toJson(found.conversation, found.messages)
      : toMarkdown(found.conversation, found.messages);
  }

  /** @param {"conversations" | "messages"} name */
  #write(name) {
    return this.database.transaction(name, "readwrite").objectStore(name);
  }

  /** @param {string} conversation @param {string} [message] @param {boolean} [removed] */
  #tell(conversation, message = "", removed = false) {
    this.channel.postMessage(/** @type {Change} */ ({ conversation, message, removed }));
  }
}

/**
 * @template Result
 * @param {IDBRequest<Result>} request
 * @returns {Promise<Result>}
 */
function done(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error ?? new Error("The browser refuses to store conversations."));
  });
}

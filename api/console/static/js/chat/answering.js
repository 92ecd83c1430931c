// Sends questions as durable jobs and follows them: the answer is complete even if no window waits for it.

import { ApiError, call, get, post } from "../api.js";
import { jobEvents } from "../job_events.js";
import { addEvent, isFinal, setJob } from "./answer.js";

/** @typedef {import("../conversations.js").Conversation} Conversation */
/** @typedef {import("../conversations.js").Message} Message */
/** @typedef {import("../conversations.js").ConversationStore} ConversationStore */
/** @typedef {import("./library.js").Library} Library */

/** How often an answer that is being written is saved, in milliseconds. */
const SAVE_MS = 700;

export class Answering {
  /**
   * @param {ConversationStore} store
   * @param {Library} library
   * @param {(message: Message) => void} onchange
   */
  constructor(store, library, onchange) {
    this.store = store;
    this.library = library;
    this.onchange = onchange;
    /** @type {Map<string, {message: Message, controller: AbortController, saved: number}>} by message */
    this.followed = new Map();
    /** @type {Set<string>} the messages whose questions are being sent */
    this.sending = new Set();
    // The last moment at which a window that is being closed can save.
    window.addEventListener("pagehide", () => {
      for (const { message } of this.followed.values()) void store.saveMessage(message);
    });
  }

  /**
   * Send the question that an answer belongs to.
   *
   * @param {Conversation} conversation
   * @param {Message[]} branch the messages up to the question
   * @param {Message} message the answer
   */
  async submit(conversation, branch, message) {
    message.state = "sending";
    this.sending.add(message.id);
    await this.changed(message);
    try {
      if (conversation.collections === "all") await this.library.loadCollections();
      const rag = this.library.search(conversation);
      message.searched = rag !== null;
      const job = await post("/v1/chat/completions", requestBody(conversation, branch, rag), {
        prefer: "respond-async",
      });
      message.job = job.id;
      // The user may have stopped it meanwhile.
      if (isFinal(message)) await this.stop(message);
      else message.state = "queued";
    } catch (error) {
      this.fail(message, error);
    }
    this.sending.delete(message.id);
    await this.changed(message);
    if (message.job !== "") await this.follow(message);
  }

  /**
   * Follow an answer until it is complete, from where it was left. Returns when it is, or when it is left.
   *
   * @param {Message} message
   */
  async follow(message) {
    if (this.followed.has(message.id)) return;
    const followed = { message, controller: new AbortController(), saved: Date.now() };
    const { signal } = followed.controller;
    this.followed.set(message.id, followed);
    try {
      for await (const { number, data } of jobEvents(message.job, message.event, signal)) {
        addEvent(message, number, data);
        this.onchange(message);
        if (message.waiting !== null) void this.estimate(message);
        if (Date.now() - followed.saved > SAVE_MS) {
          followed.saved = Date.now();
          await this.store.saveMessage(message);
        }
      }
      // The events of a job are gone some time after its end; then the job has the whole answer.
      const isPartial = !isFinal(message) || (message.state === "completed" && message.text === "");
      if (!signal.aborted && isPartial) setJob(message, await get(`/v1/jobs/${message.job}`));
    } catch (error) {
      this.fail(message, error);
    } finally {
      if (this.followed.get(message.id) === followed) this.followed.delete(message.id);
    }
    await this.changed(message);
  }

  /** Ask when an answer that waits may begin. @param {Message} message */
  async estimate(message) {
    const { waiting } = message;
    if (waiting === null || waiting.seconds !== null || waiting.loading) return;
    const job = await get(`/v1/jobs/${message.job}`).catch(() => null);
    if (message.waiting !== waiting || job === null) return;
    waiting.seconds = job.estimated_start_seconds ?? null;
    this.onchange(message);
  }

  /** @param {Message} message @returns {boolean} whether this window sends or follows it */
  isBusy(message) {
    return this.sending.has(message.id) || this.followed.has(message.id);
  }

  /** @param {Message} message */
  async stop(message) {
    if (message.job === "") {
      message.state = "cancelled";
      await this.changed(message);
    } else {
      await call("DELETE", `/v1/jobs/${message.job}`);
    }
  }

  /** Stop following, because another conversation is shown. The answers go on, and are followed when they are shown. */
  leave() {
    for (const { controller } of this.followed.values()) controller.abort();
    this.followed.clear();
  }

  /** @param {Message} message @param {unknown} error */
  fail(message, error) {
    if (!(error instanceof ApiError)) throw error;
    message.state = "failed";
    message.error = error.status === 404 && message.job ? "The server no longer has this answer." : error.message;
  }

  /** @param {Message} message */
  async changed(message) {
    this.onchange(message);
    await this.store.saveMessage(message);
  }
}

/**
 * @param {Conversation} conversation
 * @param {Message[]} branch
 * @param {{collections?: string[]} | null} rag
 */
function requestBody({ model, system, temperature, tools }, branch, rag) {
  const said = branch.filter(({ role, text }) => role === "user" || text !== "");
  return {
    ...(model && { model }),
    messages: [...(system ? [{ role: "system", content: system }] : []), ...said.map(toWire)],
    ...(temperature !== null && { temperature }),
    ...(rag && { rag }),
    ...(tools && { server_tools: "all" }),
  };
}

/** @param {Message} message */
function toWire({ role, text, calls }) {
  const results = calls.filter(({ done }) => done);
  return {
    role,
    content: text,
    ...(results.length > 0 && {
      tool_results: results.map(({ id, name, arguments: given, result, error }) => ({
        id,
        name,
        arguments: given,
        result,
        error,
      })),
    }),
  };
}

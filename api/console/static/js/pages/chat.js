// The chat: one conversation, the list of all of them, and the sources of its answers.

import { copy } from "../clipboard.js";
import { ConversationStore, newId } from "../conversations.js";
import { byId } from "../dom.js";
import { follow } from "../events.js";
import { signedIn } from "../session.js";
import { attempt } from "../toast.js";
import { isFinal, newMessage } from "../chat/answer.js";
import { Answering } from "../chat/answering.js";
import { Attachments } from "../chat/attachments.js";
import { branchTo, newestLeaf, versions } from "../chat/branches.js";
import { Composer } from "../chat/composer.js";
import { ConversationList } from "../chat/conversation_list.js";
import { Library } from "../chat/library.js";
import { MessageView } from "../chat/message_view.js";
import { ScopeMenu } from "../chat/scope_menu.js";
import { Scroll } from "../chat/scroll.js";
import { SourcePanel } from "../chat/source_panel.js";
import { Welcome } from "../chat/welcome.js";

/** @typedef {import("../conversations.js").Change} Change */
/** @typedef {import("../conversations.js").Conversation} Conversation */
/** @typedef {import("../conversations.js").Message} Message */

const UNTITLED = "New chat";
const TITLE_LENGTH = 70;
/** A question that another window sends has its job after this time, in milliseconds; otherwise that window is gone. */
const SENDING_MS = 20_000;

class ChatPage {
  /** @param {ConversationStore} store @param {Library} library */
  constructor(store, library) {
    this.store = store;
    this.library = library;
    this.log = byId("log");
    this.announcer = byId("announcer");
    /** @type {Conversation} */
    this.conversation = emptyConversation();
    this.isSaved = false;
    /** @type {Message[]} of all branches */
    this.messages = [];
    /** @type {Map<string, MessageView>} by message */
    this.views = new Map();
    /** @type {Map<string, string>} what was typed and not sent, by conversation */
    this.drafts = new Map();
    /** The answer that was spoken last. */
    this.announced = "";
    /** @type {() => void} */
    this.endEvents = () => undefined;
    this.answering = new Answering(store, library, (message) => this.changed(message));
    this.list = new ConversationList(store, (id) => id === this.conversation.id && this.startNew());
    this.scope = new ScopeMenu(library, (changes) => void this.change(changes));
    this.scroll = new Scroll(byId("scroll"), this.log, byId("to-end"));
    this.source = new SourcePanel(byId("source-side"), byId("source-dialog", HTMLDialogElement), (isOpen) =>
      byId("chat").classList.toggle("with-source", isOpen),
    );
    this.attachments = new Attachments(byId("files"), () => void this.filesChanged());
    this.pendingFiles = 0;
    this.composer = new Composer({
      send: (text) => void this.ask(text, this.conversation.leaf),
      stop: () => void this.stop(),
      addFiles: (files) => void this.addFiles(files),
    });
    this.welcome = new Welcome(byId("welcome"), library, {
      chooseFiles: () => byId("attach").click(),
      ask: (question) => {
        this.composer.focus();
        void this.ask(question, this.conversation.leaf);
      },
      onsample: () => this.reloadLibrary(),
    });
  }

  async start() {
    byId("new-chat").addEventListener("click", () => this.startNew());
    window.addEventListener("hashchange", () => void this.open(location.hash.slice(1)));
    this.store.onchange((change) => void this.changedElsewhere(change));
    // The user may have begun to type before this script had been loaded.
    const typed = this.composer.text;
    await Promise.all([this.list.refresh(), this.open(location.hash.slice(1))]);
    if (this.composer.text === "") this.composer.text = typed;
  }

  startNew() {
    history.pushState(null, "", location.pathname);
    this.list.panel.closeDialog();
    void this.open("");
  }

  /** Show a conversation, or a new one. @param {string} id */
  async open(id) {
    this.answering.leave();
    this.drafts.set(this.conversation.id, this.composer.text);
    this.source.close();
    const found = id === "" ? null : await this.store.load(id);
    this.isSaved = found !== null;
    this.conversation = found?.conversation ?? emptyConversation();
    this.messages = found?.messages ?? [];
    this.views.clear();
    this.log.replaceChildren();
    this.composer.text = this.drafts.get(this.conversation.id) ?? "";
    this.list.setCurrent(this.conversation.id);
    this.render();
    this.scroll.toEnd();
    this.openEvents();
    this.composer.focus();
    await attempt(() => this.attachments.show(this.conversation.files));
    await this.resume();
  }

  /** Go on with the answers that are not complete. */
  async resume() {
    const branch = branchTo(this.messages, this.conversation.leaf);
    await this.sendWaiting();
    for (const message of branch.filter((one) => !isFinal(one))) {
      if (message.job !== "") void this.answering.follow(message);
      else if (message.state === "sending") window.setTimeout(() => void this.giveUp(message), SENDING_MS);
    }
  }

  /** @param {Message} message whose question no window has sent */
  async giveUp(message) {
    if (message.job !== "" || message.state !== "sending" || this.answering.isBusy(message)) return;
    message.state = "failed";
    message.error = "The page was closed before the question was sent.";
    await this.answering.changed(message);
  }

  // Questions and answers

  /** @param {string} text @param {string} parent */
  async ask(text, parent) {
    const question = newMessage(this.conversation.id, parent, "user", text);
    this.messages.push(question);
    await this.answer(question, true);
  }

  /** @param {Message} question @param {boolean} [isNew] whether it is not stored yet */
  async answer(question, isNew = false) {
    // Until it has been sent, the user may have opened another conversation.
    const { conversation } = this;
    const answer = newMessage(conversation.id, question.id, "assistant");
    const isWaiting = this.attachments.pending > 0;
    if (isWaiting) answer.state = "indexing";
    this.messages.push(answer);
    const branch = branchTo(this.messages, question.id);
    const title = conversation.title === UNTITLED ? shortened(question.text) : conversation.title;
    const changes = { leaf: answer.id, updated: Date.now(), title };
    Object.assign(conversation, changes);
    this.render();
    this.scroll.toEnd();
    await this.saved();
    if (isNew) await this.store.saveMessage(question);
    await this.store.saveMessage(answer);
    await this.store.change(conversation.id, changes);
    await this.list.refresh();
    if (!isWaiting) await this.answering.submit(conversation, branch, answer);
  }

  /** The files have changed: questions may have waited for them. */
  async filesChanged() {
    const { pending } = this.attachments;
    const wasPending = this.pendingFiles > 0;
    this.pendingFiles = pending;
    if (pending > 0) return;
    await this.sendWaiting();
    if (!wasPending) return;
    await attempt(() => this.library.loadCollections());
    this.scope.showCollections();
  }

  /** Send the questions that waited for files, if these are searchable now. */
  async sendWaiting() {
    if (this.attachments.pending > 0) return;
    const waiting = this.messages.filter(({ state }) => state === "indexing");
    await Promise.all(waiting.map((message) => this.sendNow(message)));
  }

  /** @param {Message} message */
  async sendNow(message) {
    const { conversation, messages } = this;
    if (!(await this.store.claim(message.id, "indexing", "sending"))) return;
    await this.answering.submit(conversation, branchTo(messages, message.parent), message);
  }

  async stop() {
    const running = branchTo(this.messages, this.conversation.leaf).filter((message) => !isFinal(message));
    for (const message of running) await attempt(() => this.answering.stop(message));
  }

  /** @param {Message} message */
  changed(message) {
    if (message.conversation !== this.conversation.id) return;
    this.views.get(message.id)?.update(message, versions(this.messages, message));
    this.showProgress();
    this.announce(message);
  }

  /** Have screen readers speak an answer once, when it is complete. @param {Message} message */
  announce(message) {
    if (message.state !== "completed" || this.announced === message.id) return;
    this.announced = message.id;
    this.announcer.textContent = `Answer: ${message.text}`;
  }

  // The page

  render() {
    const branch = branchTo(this.messages, this.conversation.leaf);
    const elements = branch.map((message) => {
      const view = this.views.get(message.id) ?? new MessageView(message, this.actions);
      this.views.set(message.id, view);
      view.update(message, versions(this.messages, message));
      return view.element;
    });
    if (elements.length !== this.log.children.length || elements.some((one, at) => one !== this.log.children[at])) {
      this.log.replaceChildren(...elements);
    }
    this.welcome.show(branch.length === 0);
    this.scope.show(this.conversation);
    document.title = `${this.conversation.title} · llm-api`;
    this.showProgress();
    this.showDemonstration();
  }

  showProgress() {
    const branch = branchTo(this.messages, this.conversation.leaf);
    this.composer.setAnswering(branch.some((message) => !isFinal(message)));
  }

  showDemonstration() {
    const name = this.conversation.model || this.library.defaultModel?.id || "";
    byId("demonstration").hidden = !this.library.isDemonstration(name);
    byId("demonstration-name").textContent = name;
  }

  /** @returns {import("../chat/message_view.js").Actions} */
  get actions() {
    return {
      openSource: (message, number, opener) => {
        const source = message.sources.find(({ index }) => index === number);
        if (source) void this.source.open(source, opener);
      },
      copy: (message) => void copy(message.text),
      regenerate: (message) => {
        const question = this.messages.find(({ id }) => id === message.parent);
        if (question) void this.answer(question);
      },
      resend: (message, text) => void this.ask(text, message.parent),
      withoutFiles: (message) => void this.sendNow(message),
      showVersion: (id) => void this.change({ leaf: newestLeaf(this.messages, id) }).then(() => this.resume()),
      isDemonstration: (model) => this.library.isDemonstration(model),
    };
  }

  // What is kept

  /** Change fields of the conversation. One that nothing was asked in yet is not kept. @param {Partial<Conversation>} changes */
  async change(changes) {
    Object.assign(this.conversation, changes);
    this.render();
    if (!this.isSaved) return;
    await this.store.change(this.conversation.id, changes);
    await this.list.refresh();
  }

  async saved() {
    if (this.isSaved) return;
    this.isSaved = true;
    await this.store.save(this.conversation);
    history.replaceState(null, "", `#${this.conversation.id}`);
    this.list.setCurrent(this.conversation.id);
    await this.list.refresh();
  }

  /** @param {import("../chat/composer.js").NamedFile[]} files */
  async addFiles(files) {
    await this.saved();
    const collection = this.library.filesOf(this.conversation.id);
    const chosen = this.conversation.collections;
    const others = chosen === "all" ? [] : chosen.filter((name) => name !== collection);
    await this.change({ files: collection, collections: [...others, collection], updated: Date.now() });
    this.openEvents();
    await attempt(() => this.attachments.add(files, collection));
  }

  /** Another window has changed something. @param {Change} change */
  async changedElsewhere({ conversation, message, removed }) {
    if (message === "") await this.list.refresh();
    if (conversation !== this.conversation.id) return;
    if (removed) return this.startNew();
    // This window reads the same answer itself.
    if (this.messages.some((one) => one.id === message && this.answering.isBusy(one))) return;
    const found = await this.store.load(conversation);
    if (found === null || conversation !== this.conversation.id) return;
    const { leaf } = this.conversation;
    this.messages = merged(this.messages, found.messages, (one) => this.answering.isBusy(one));
    Object.assign(this.conversation, found.conversation, {
      leaf: newestLeaf(this.messages, leaf || found.conversation.leaf),
    });
    this.render();
    await this.resume();
  }

  // Changes on the server

  openEvents() {
    this.endEvents();
    const { files } = this.conversation;
    const isEmpty = this.library.documents === 0;
    const topics = this.library.mayRead && (files !== "" || isEmpty) ? ["models", "documents"] : ["models"];
    this.endEvents = follow(
      topics,
      {
        model: (model) => {
          this.library.setModel(model);
          this.scope.showModels();
          this.showDemonstration();
        },
        "model.deleted": ({ id }) => {
          this.library.forgetModel(id);
          this.scope.showModels();
        },
        document: (document) => {
          this.attachments.set(document);
          void this.welcome.set(document);
        },
        "document.deleted": (deleted) => this.attachments.forget(deleted),
        collection: (collection) => {
          this.library.setCollection(collection);
          this.render();
        },
        reset: () => void this.reloadLibrary(),
      },
      files === "" || isEmpty ? {} : { collection: files },
    );
  }

  async reloadLibrary() {
    await attempt(async () => {
      await this.library.load();
      await this.attachments.reload();
      await this.welcome.reload();
    });
    this.render();
  }
}

/** @returns {Conversation} */
function emptyConversation() {
  return {
    id: newId(),
    title: UNTITLED,
    created: Date.now(),
    updated: Date.now(),
    model: "",
    collections: "all",
    files: "",
    system: "",
    temperature: null,
    tools: false,
    leaf: "",
  };
}

/** @param {string} text */
function shortened(text) {
  const line = text.replace(/\s+/g, " ");
  return line.length <= TITLE_LENGTH ? line : `${line.slice(0, TITLE_LENGTH - 1)}…`;
}

/**
 * Return the stored messages, with this window's objects for those that it is working on.
 *
 * @param {Message[]} own
 * @param {Message[]} stored
 * @param {(message: Message) => boolean} isBusy
 */
function merged(own, stored, isBusy) {
  const kept = new Map(own.filter(isBusy).map((message) => [message.id, message]));
  const known = new Set(stored.map(({ id }) => id));
  return [
    ...stored.map((message) => kept.get(message.id) ?? message),
    // Made a moment ago, and not stored yet.
    ...own.filter(({ id }) => !known.has(id)),
  ];
}

const session = await signedIn();
const library = new Library();
const [store] = await Promise.all([ConversationStore.open(session.owner ?? ""), attempt(() => library.load())]);
await new ChatPage(store, library).start();

// What a conversation without messages shows: the next step, whichever that is.

import { ApiError, get, root } from "../api.js";
import { fill, h, icon } from "../dom.js";
import { counted } from "../format.js";
import { attempt } from "../toast.js";
import { uploadFiles } from "../upload.js";
import { searchable } from "./library.js";
import { SAMPLE_COLLECTION, SAMPLE_NAME, SAMPLE_QUESTIONS, sampleFile } from "./sample.js";

/** @typedef {import("./library.js").Library} Library */

/**
 * @typedef {object} WelcomeActions
 * @property {() => void} chooseFiles
 * @property {(question: string) => void} ask
 * @property {() => Promise<void>} onsample is called when the sample document can be searched
 */

export class Welcome {
  /** @param {HTMLElement} element @param {Library} library @param {WelcomeActions} actions */
  constructor(element, library, actions) {
    this.element = element;
    this.library = library;
    this.actions = actions;
    /** What is shown of the sample document while it is added, or "". */
    this.progress = "";
    /** The id of the sample document that is being indexed, or "". */
    this.sample = "";
  }

  /** @param {boolean} isShown */
  show(isShown) {
    this.element.hidden = !isShown;
    if (!isShown) return;
    const { documents, collections, mayRead } = this.library;
    const hasSample = collections.some((one) => one.name === SAMPLE_COLLECTION && searchable(one) > 0);
    const isFirst = documents === 0 || this.progress !== "";
    const key = `${documents} ${hasSample} ${isFirst} ${this.progress} ${mayRead}`;
    // The focus stays where it is unless something has changed.
    if (this.element.dataset.shown === key) return;
    this.element.dataset.shown = key;
    if (isFirst) fill(this.element, this.firstRun());
    else
      fill(this.element, hasSample && documents === 1 ? sampleHead() : head(documents), hasSample && this.questions());
  }

  firstRun() {
    const { mayRead } = this.library;
    return [
      h("h2", {}, "Ask your own documents"),
      h("p", {}, "Answers name their sources, and nothing leaves this machine."),
      h(
        "ol",
        { class: "ways" },
        mayRead &&
          way(
            "Add a file",
            "Drop it anywhere on this page: PDF, Office, e-mail, web pages, code and more.",
            h(
              "button",
              { type: "button", class: "button primary", onclick: this.actions.chooseFiles },
              icon("upload"),
              "Choose files",
            ),
          ),
        mayRead &&
          way(
            "Or try a sample",
            `A short manual of a coffee machine, and three questions that it answers.`,
            this.progress === ""
              ? h(
                  "button",
                  { type: "button", class: "button", onclick: () => void this.addSample() },
                  icon("documents"),
                  "Add a sample document",
                )
              : h("p", { class: "badge active", role: "status" }, this.progress),
          ),
        way(
          "Use a better model",
          "The model that comes with the program only shows how it works.",
          h("a", { class: "button", href: `${root}/console/models` }, icon("models"), "Models"),
        ),
      ),
    ];
  }

  questions() {
    const button = (/** @type {string} */ question) =>
      h("button", { type: "button", class: "button suggestion", onclick: () => this.actions.ask(question) }, question);
    return h(
      "div",
      { class: "suggestions", role: "group", "aria-label": "Questions that the sample answers" },
      SAMPLE_QUESTIONS.map(button),
    );
  }

  async addSample() {
    const isAdded = await attempt(async () => {
      const file = await sampleFile();
      const [upload] = await uploadFiles([{ file, name: SAMPLE_NAME }], SAMPLE_COLLECTION, () => {
        this.progress = "Uploading …";
        this.show(true);
      });
      if (!upload?.document) throw new ApiError(upload?.error ?? "The sample was not accepted.", 0);
      await this.set(upload.document);
    });
    if (isAdded) return;
    this.progress = "";
    this.show(!this.element.hidden);
  }

  /** @param {any} document as an event brings it */
  async set(document) {
    if (document.collection !== SAMPLE_COLLECTION || this.progress === "") return;
    this.sample = document.id;
    this.progress =
      document.status === "failed" ? (document.error ?? "Failed") : `Indexing ${document.progress.percent} %`;
    if (document.status === "completed") {
      this.progress = "";
      this.sample = "";
      await this.actions.onsample();
    }
    this.show(!this.element.hidden);
  }

  /** Ask again how far the sample document is, because events were missed. */
  async reload() {
    if (this.sample !== "") await this.set(await get(`/v1/rag/documents/${this.sample}`));
  }
}

/** @param {string} title @param {string} text @param {HTMLElement} action */
function way(title, text, action) {
  return h("li", { class: "card way" }, h("h3", {}, title), h("p", { class: "muted" }, text), action);
}

/** @param {number} documents */
function head(documents) {
  return [
    h("h2", {}, "What would you like to know?"),
    h("p", {}, `Ask about ${counted(documents, "document")}, or drop a file here to ask about it.`),
  ];
}

function sampleHead() {
  return [
    h("h2", {}, "The sample is ready: ask it something"),
    h("p", {}, "It is the manual of a coffee machine. Or drop a file of your own here."),
  ];
}

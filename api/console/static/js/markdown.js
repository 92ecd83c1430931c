// <markdown-view>: Markdown that the server renders. What it has not rendered yet, or cannot, is shown as plain text.

import { ApiError, post } from "./api.js";
import { h } from "./dom.js";

/** The least time between two requests for the same text, in milliseconds. */
const PAUSE_MS = 300;
/** How many rendered texts are kept for the next time that they are shown. */
const KEPT_TEXTS = 200;

/** @typedef {{html: string, end: number, end_utf16?: number}} Block */

/** @type {Map<string, Block[]>} */
const rendered = new Map();

export class MarkdownView extends HTMLElement {
  #text = "";
  /** How much of the text has been rendered, in UTF-16 units. */
  #end = 0;
  #isComplete = false;
  #isAsking = false;
  #failed = false;
  /** What was sent last, so that it is not sent again before it has grown. */
  #asked = "";
  /** Changes when another text is set, so that an answer about an earlier one is dropped. */
  #version = 0;
  #blocks = h("div", { class: "markdown" });
  #tail = h("div", { class: "markdown-tail" });

  connectedCallback() {
    if (!this.firstChild) this.append(this.#blocks, this.#tail);
  }

  /** The text that is shown. */
  get text() {
    return this.#text;
  }

  /**
   * Show a text. If it continues the earlier one, only what is new is rendered.
   *
   * @param {string} text
   * @param {boolean} isComplete whether nothing will follow
   */
  show(text, isComplete) {
    if (text === this.#text && isComplete === this.#isComplete) return;
    if (!text.startsWith(this.#text.slice(0, this.#end))) this.#restart();
    this.#text = text;
    this.#isComplete = isComplete;
    this.#showTail();
    const known = this.#end === 0 && isComplete ? rendered.get(text) : undefined;
    if (known) this.#add(known, text.length);
    else void this.#render();
  }

  #showTail() {
    this.#tail.textContent = this.#text.slice(this.#end).replace(/^\n+/, "");
  }

  #restart() {
    this.#version += 1;
    this.#end = 0;
    this.#failed = false;
    this.#blocks.replaceChildren();
  }

  async #render() {
    if (this.#isAsking) return;
    this.#isAsking = true;
    try {
      while (this.#needsRendering()) {
        await this.#renderNext();
        if (!this.#isComplete) await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
      }
    } catch (error) {
      // The text is there to be read, even if the server cannot be reached or refuses it for its length.
      if (!(error instanceof ApiError)) throw error;
      this.#failed = true;
    } finally {
      this.#isAsking = false;
    }
  }

  #needsRendering() {
    const tail = this.#text.slice(this.#end);
    if (this.#failed && !this.#isComplete) return false;
    return this.#isComplete ? tail !== "" : /\S[^\n]*\n/.test(tail) && this.#asked !== tail;
  }

  async #renderNext() {
    const version = this.#version;
    const text = this.#text;
    const isComplete = this.#isComplete;
    const tail = text.slice(this.#end);
    this.#asked = tail;
    const isWhole = isComplete && this.#end === 0;
    const answer = await post("/v1/markdown", { text: tail, complete: isComplete });
    if (version !== this.#version) return;
    if (isWhole) keep(text, answer.blocks);
    this.#add(answer.blocks, this.#end + (answer.end_utf16 ?? answer.end));
  }

  /** @param {Block[]} blocks @param {number} end */
  #add(blocks, end) {
    for (const { html } of blocks) this.#blocks.append(fromServer(html));
    this.#end = end;
    this.#asked = "";
    this.#showTail();
    if (blocks.length > 0) this.dispatchEvent(new Event("rendered", { bubbles: true }));
  }
}

/** @param {string} text @param {Block[]} blocks */
function keep(text, blocks) {
  const oldest = rendered.keys().next().value;
  if (rendered.size >= KEPT_TEXTS && oldest !== undefined) rendered.delete(oldest);
  rendered.set(text, blocks);
}

/**
 * Return the elements of HTML that `/v1/markdown` has made. This is the only place of the console that reads HTML: the
 * server lets no markup of a text through.
 *
 * @param {string} html
 * @returns {DocumentFragment}
 */
function fromServer(html) {
  const template = document.createElement("template");
  template.innerHTML = html;
  return template.content;
}

customElements.define("markdown-view", MarkdownView);

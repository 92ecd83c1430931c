// The extracted text of a document, chunk by chunk, loaded as it is scrolled to.

import { get } from "../api.js";
import { documentAddress } from "./actions.js";
import { fill, h } from "../dom.js";
import { placeOf, split } from "../passages.js";
import { attempt } from "../toast.js";

/** @typedef {import("../wire.js").Chunk} Chunk */

const PAGE = 40;
/** Chunks before the one that an address names. */
const BEFORE = 3;

export class DocumentText {
  #first = 0;
  #next = 0;
  #end = 0;
  #hasMore = true;
  #isLoading = false;
  #version = 0;

  /**
   * @param {string} id of the document
   * @param {HTMLElement} frame
   */
  constructor(id, frame) {
    this.id = id;
    this.chunks = h("ol", { class: "chunks" });
    this.earlier = h("button", { type: "button", class: "button", hidden: true }, "Earlier text");
    this.more = h("button", { type: "button", class: "button", hidden: true }, "More text");
    this.status = h("p", { class: "muted" }, "Loading the text…");
    fill(frame, this.earlier, this.chunks, this.more, this.status);
    this.earlier.onclick = () => void attempt(() => this.#loadEarlier());
    this.more.onclick = () => void attempt(() => this.#loadMore());
    this.watcher = new IntersectionObserver(
      (entries) => {
        if (entries.some((entry) => entry.isIntersecting)) void attempt(() => this.#loadMore());
      },
      { rootMargin: "1200px" },
    );
    this.watcher.observe(this.more);
  }

  /**
   * Show the text from its beginning, or around a chunk, which is marked.
   *
   * @param {number | null} index of the chunk
   */
  async show(index) {
    const shown = index === null ? null : this.#chunk(index);
    if (shown === null || this.#next === 0) await this.#loadFrom(Math.max(0, (index ?? 0) - BEFORE));
    if (index === null) return;
    this.chunks.querySelector(".chunk.target")?.classList.remove("target");
    const target = this.#chunk(index);
    target?.classList.add("target");
    target?.scrollIntoView({ block: "center" });
  }

  /** Load the text again, as `show` does. @param {number | null} index */
  async reload(index) {
    this.#next = 0;
    await this.show(index);
  }

  /** @param {number} index @returns {HTMLElement | null} */
  #chunk(index) {
    return this.chunks.querySelector(`#chunk-${index}`);
  }

  /** @param {number} first */
  async #loadFrom(first) {
    this.#version += 1;
    this.#isLoading = false;
    [this.#first, this.#next, this.#end, this.#hasMore] = [first, first, 0, true];
    fill(this.chunks);
    await this.#loadMore();
  }

  async #loadMore() {
    if (this.#isLoading || !this.#hasMore) return;
    this.#isLoading = true;
    const version = this.#version;
    try {
      const answer = await this.#page(this.#next, PAGE);
      if (version !== this.#version) return;
      for (const chunk of /** @type {Chunk[]} */ (answer.data)) {
        this.chunks.append(this.#element(chunk, this.#end));
        this.#end = chunk.end ?? 0;
        this.#next = chunk.index + 1;
      }
      this.#hasMore = answer.has_more;
      this.#showState();
    } catch (error) {
      this.#hasMore = false;
      this.status.textContent = error instanceof Error ? error.message : String(error);
      throw error;
    } finally {
      if (version === this.#version) this.#isLoading = false;
    }
  }

  async #loadEarlier() {
    const first = Math.max(0, this.#first - PAGE);
    const answer = await this.#page(first, this.#first - first);
    const top = this.chunks.firstElementChild;
    const height = document.documentElement.scrollHeight;
    let end = 0;
    for (const chunk of /** @type {Chunk[]} */ (answer.data)) {
      this.chunks.insertBefore(this.#element(chunk, end), top);
      end = chunk.end ?? 0;
    }
    this.#first = first;
    this.#showState();
    window.scrollBy(0, document.documentElement.scrollHeight - height);
  }

  get isEmpty() {
    return this.chunks.childElementCount === 0;
  }

  #showState() {
    this.earlier.hidden = this.#first === 0;
    this.more.hidden = !this.#hasMore;
    this.status.hidden = !this.isEmpty;
    // Observed anew, it is reported again if it can still be seen because the chunks are short.
    this.watcher.unobserve(this.more);
    this.watcher.observe(this.more);
    this.status.textContent = "There is no extracted text yet.";
  }

  /** @param {number} first @param {number} limit @returns {Promise<any>} */
  #page(first, limit) {
    return get(`${documentAddress(this.id)}/chunks`, { after: first > 0 ? first - 1 : null, limit });
  }

  /**
   * @param {Chunk} chunk
   * @param {number} end of the chunk before it, whose last words this one may repeat
   * @returns {HTMLElement}
   */
  #element(chunk, end) {
    const [repeated, text] = split(chunk.text, chunk.start === null ? 0 : end - chunk.start);
    return h(
      "li",
      { class: "chunk", id: `chunk-${chunk.index}` },
      h(
        "p",
        { class: "chunk-head muted small" },
        h("a", { href: `#chunk-${chunk.index}`, "aria-label": `Chunk ${chunk.index}` }, `#${chunk.index}`),
        placeOf(chunk) && ` · ${placeOf(chunk)}`,
      ),
      h(
        "p",
        { class: "chunk-text" },
        repeated && h("span", { class: "repeated", title: "Repeated from the chunk before" }, repeated),
        text,
      ),
    );
  }
}

// Shows a source beside the answer: the document's text around the passage, with the passage marked.

import { ApiError, get, root } from "../api.js";
import { fill, h, icon, iconButton } from "../dom.js";
import { Panel } from "../panel.js";
import { marked, placeOf } from "../passages.js";

/** @typedef {import("../conversations.js").Source} Source */
/** @typedef {import("../wire.js").Chunk} Chunk */

/** How many chunks before and after the passage are shown at first, and are added by a click. */
const CONTEXT = 3;
const WIDE = matchMedia("(min-width: 1000px)");

export class SourcePanel {
  /** @param {HTMLElement} side @param {HTMLDialogElement} dialog @param {(isOpen: boolean) => void} onchange */
  constructor(side, dialog, onchange) {
    this.side = side;
    this.onchange = onchange;
    this.content = h("div", { class: "source-panel" });
    side.append(this.content);
    this.panel = new Panel(this.content, side, dialog);
    this.panel.onclose = () => this.closed();
    /** @type {HTMLElement | null} the button to which the focus returns */
    this.opener = null;
    /** @type {Source | null} */
    this.source = null;
    side.addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.close();
    });
    WIDE.addEventListener("change", () => {
      if (this.source === null) return;
      this.side.hidden = !WIDE.matches;
      if (WIDE.matches) this.panel.moveToSide();
      else this.panel.openDialog();
      this.content.querySelector("h2")?.focus({ preventScroll: true });
    });
  }

  /** @param {Source} source @param {HTMLElement} opener */
  async open(source, opener) {
    this.source = source;
    this.opener = opener;
    if (WIDE.matches) this.side.hidden = false;
    else this.panel.openDialog();
    this.onchange(true);
    const text = new DocumentText(source);
    const heading = h("h2", { tabindex: -1 }, h("bdi", {}, source.file));
    fill(
      this.content,
      h(
        "header",
        { class: "source-head" },
        h("span", { class: "source-number" }, source.index),
        heading,
        iconButton("close", "Close the source", () => this.close()),
      ),
      h("p", { class: "muted small" }, h("bdi", {}, [source.collection, placeOf(source)].filter(Boolean).join(" · "))),
      links(source),
      text.element,
    );
    heading.focus({ preventScroll: true });
    await text.load();
  }

  close() {
    if (this.panel.isDialog) this.panel.closeDialog();
    else this.closed();
  }

  closed() {
    if (this.source === null) return;
    this.source = null;
    this.side.hidden = true;
    fill(this.content);
    this.onchange(false);
    this.opener?.focus();
  }
}

/** @param {Source} source */
function links({ document_id }) {
  const path = encodeURIComponent(document_id);
  return h(
    "p",
    { class: "row small" },
    h("a", { class: "button", href: `${root}/console/documents/${path}` }, icon("documents"), "Document"),
    h(
      "a",
      { class: "button", href: `${root}/v1/rag/documents/${path}/original`, download: true },
      icon("download"),
      "Original",
    ),
  );
}

class DocumentText {
  /** @param {Source} source */
  constructor(source) {
    this.source = source;
    /** @type {Chunk[]} */
    this.chunks = [];
    this.hasMore = false;
    this.note = h("p", { class: "muted small", hidden: true });
    this.before = h("button", { type: "button", class: "button small", hidden: true }, "Earlier text");
    this.after = h("button", { type: "button", class: "button small", hidden: true }, "Later text");
    this.text = h("div", {
      class: "source-text",
      dir: "auto",
      tabindex: 0,
      role: "region",
      "aria-label": "The document's text",
    });
    this.element = h("div", { class: "source-body" }, this.note, this.before, this.text, this.after);
    this.before.onclick = () => void this.loadBefore();
    this.after.onclick = () => void this.loadAfter();
  }

  async load() {
    const first = Math.max(0, this.source.chunk_index - CONTEXT);
    try {
      await this.add(first - 1, this.source.chunk_index - first + 1 + CONTEXT);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (error.status === 401) return;
      const gone = error.status === 404;
      return this.showPassage(
        gone ? "The document was deleted. This is the passage that the answer was built from." : error.message,
      );
    }
    if (!this.render()) {
      return this.showPassage("The document has changed. This is the passage that the answer was built from.");
    }
    this.text.querySelector("mark")?.scrollIntoView({ block: "center" });
  }

  /** @param {number} after @param {number} limit */
  async add(after, limit) {
    const path = `/v1/rag/documents/${encodeURIComponent(this.source.document_id)}/chunks`;
    const answer = await get(path, { after: after >= 0 ? after : null, limit });
    const known = new Map([...this.chunks, ...answer.data].map((chunk) => [chunk.index, chunk]));
    if ((answer.data.at(-1)?.index ?? -1) >= (this.chunks.at(-1)?.index ?? -1)) this.hasMore = answer.has_more;
    this.chunks = [...known.values()].sort((a, b) => a.index - b.index);
  }

  async loadBefore() {
    const first = this.chunks[0]?.index ?? 0;
    const from = Math.max(0, first - 4 * CONTEXT);
    const height = this.text.scrollHeight;
    await this.add(from - 1, first - from);
    this.render();
    this.text.scrollTop += this.text.scrollHeight - height;
  }

  async loadAfter() {
    await this.add(this.chunks.at(-1)?.index ?? -1, 4 * CONTEXT);
    this.render();
  }

  /** @returns {boolean} whether the text has the passage */
  render() {
    const { characters, offset } = joined(this.chunks);
    const range = passageRange(this.source, characters, offset);
    if (range === null) return false;
    this.before.hidden = (this.chunks[0]?.index ?? 0) === 0;
    this.after.hidden = !this.hasMore;
    fill(
      this.text,
      characters.slice(0, range.start).join(""),
      h("span", { class: "passage" }, marked(this.source.text, highlights(this.source))),
      characters.slice(range.end).join(""),
    );
    return true;
  }

  /** @param {string} note */
  showPassage(note) {
    this.note.textContent = note;
    this.note.hidden = false;
    fill(this.text, h("span", { class: "passage" }, marked(this.source.text, highlights(this.source))));
  }
}

/**
 * Return the text of consecutive chunks, which may overlap, and its offset in the document. Offsets count characters.
 *
 * @param {Chunk[]} chunks
 * @returns {{characters: string[], offset: number}}
 */
function joined(chunks) {
  const offset = chunks[0]?.start ?? 0; // a document's chunks have offsets, or none of them has
  /** @type {string[]} */
  const characters = [];
  for (const chunk of chunks) {
    const { text } = chunk;
    const start = chunk.start ?? offset + characters.length;
    // Between chunks there may be white space, which belongs to none.
    while (offset + characters.length < start) characters.push("\n");
    const overlap = offset + characters.length - start;
    for (const character of [...text].slice(overlap)) characters.push(character);
  }
  return { characters, offset };
}

/**
 * @param {Source} source
 * @param {string[]} characters
 * @param {number} offset
 * @returns {{start: number, end: number} | null} null if the passage is not in this text
 */
function passageRange(source, characters, offset) {
  const length = [...source.text].length;
  if (source.start !== null) {
    const start = source.start - offset;
    if (start >= 0 && characters.slice(start, start + length).join("") === source.text)
      return { start, end: start + length };
  }
  const text = characters.join("");
  const found = text.indexOf(source.text);
  if (found < 0) return null;
  const start = [...text.slice(0, found)].length;
  return { start, end: start + length };
}

/** @param {Source} source @returns {{start: number, end: number}[]} all of the passage if nothing of it stands out */
function highlights(source) {
  return source.highlights.length > 0 ? source.highlights : [{ start: 0, end: Infinity }];
}

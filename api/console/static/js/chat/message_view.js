// Shows one message. An answer changes while it is written: only the parts that changed are touched.

import { fill, h, icon, iconButton } from "../dom.js";
import { counted, duration } from "../format.js";
import "../markdown.js";
import { placeOf } from "../passages.js";
import { isFinal } from "./answer.js";

/** @typedef {import("../conversations.js").Message} Message */
/** @typedef {import("../conversations.js").ToolCall} ToolCall */
/** @typedef {import("../markdown.js").MarkdownView} MarkdownView */

/**
 * @typedef {object} Actions what a message's buttons do
 * @property {(message: Message, number: number, opener: HTMLElement) => void} openSource
 * @property {(message: Message) => void} copy
 * @property {(message: Message) => void} regenerate
 * @property {(message: Message, text: string) => void} resend
 * @property {(message: Message) => void} withoutFiles asks now, although files are still being indexed
 * @property {(id: string) => void} showVersion
 * @property {(model: string) => boolean} isDemonstration
 */

export class MessageView {
  /** @param {Message} message @param {Actions} actions */
  constructor(message, actions) {
    this.message = message;
    this.actions = actions;
    const isAnswer = message.role === "assistant";
    this.element = h("article", { class: `message ${message.role}`, "aria-label": isAnswer ? "Answer" : "Question" });
    this.footer = h("footer", { class: "message-actions" });
    this.versions = h("span", { class: "versions" });
    if (isAnswer) this.answer = new AnswerParts(this.element, this);
    else this.element.append(this.question());
    this.element.append(this.footer);
    this.fillFooter();
  }

  /**
   * @param {Message} message
   * @param {Message[]} versions of it, itself included
   */
  update(message, versions) {
    this.message = message;
    this.answer?.update(message);
    const position = versions.findIndex(({ id }) => id === message.id);
    const last = versions.length - 1;
    const step = (/** @type {string} */ name, /** @type {string} */ label, /** @type {number} */ to) => {
      const button = iconButton(name, label, () => this.actions.showVersion(versions[to]?.id ?? message.id));
      button.disabled = to < 0 || to > last;
      return button;
    };
    this.versions.hidden = last < 1;
    if (this.versions.dataset.shown === `${position}/${last}`) return;
    this.versions.dataset.shown = `${position}/${last}`;
    fill(
      this.versions,
      step("back", "Earlier version", position - 1),
      `${position + 1} of ${last + 1}`,
      step("forward", "Later version", position + 1),
    );
  }

  /** @returns {HTMLElement} */
  question() {
    return h("div", { class: "bubble", dir: "auto" }, this.message.text);
  }

  fillFooter() {
    const { actions } = this;
    const isAnswer = this.message.role === "assistant";
    fill(
      this.footer,
      this.versions,
      iconButton("copy", isAnswer ? "Copy the answer" : "Copy the question", () => actions.copy(this.message)),
      isAnswer
        ? iconButton("retry", "Generate again", () => actions.regenerate(this.message))
        : iconButton("edit", "Edit and ask again", () => this.edit()),
      isAnswer && this.answer?.figures,
    );
  }

  /** Put a field in place of the question. */
  edit() {
    const field = h("textarea", { rows: 3, "aria-label": "The question", dir: "auto" });
    field.value = this.message.text;
    const form = h(
      "form",
      { class: "edit stack" },
      field,
      h(
        "div",
        { class: "row" },
        h("button", { class: "button primary", type: "submit" }, "Ask again"),
        h("button", { class: "button", type: "button", onclick: () => restore() }, "Cancel"),
      ),
    );
    const bubble = this.element.firstElementChild;
    const restore = () => {
      form.replaceWith(this.question());
      this.footer.hidden = false;
      this.footer.querySelector("button")?.focus();
    };
    form.onsubmit = (event) => {
      event.preventDefault();
      const text = field.value.trim();
      restore();
      if (text !== "") this.actions.resend(this.message, text);
    };
    form.onkeydown = (event) => {
      if (event.key === "Escape") restore();
      if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
        event.preventDefault();
        form.requestSubmit();
      }
    };
    bubble?.replaceWith(form);
    this.footer.hidden = true;
    field.focus();
    field.setSelectionRange(field.value.length, field.value.length);
  }
}

class AnswerParts {
  /** @param {HTMLElement} element @param {MessageView} view */
  constructor(element, view) {
    this.view = view;
    this.state = h("p", { class: "message-state muted", hidden: true });
    this.thought = h("p", { class: "reasoning", dir: "auto" });
    this.reasoning = h("details", { class: "fold", hidden: true }, h("summary", {}, "Reasoning"), this.thought);
    this.calls = h("div", { class: "calls" });
    this.said = h("section", { class: "said", "aria-label": "What the documents say", hidden: true });
    this.text = /** @type {MarkdownView} */ (document.createElement("markdown-view"));
    this.text.setAttribute("dir", "auto");
    this.error = h("div", { class: "notice bad", role: "alert", hidden: true });
    this.grounding = h("div", { class: "notice warn small", hidden: true });
    this.sources = h("section", { class: "sources", "aria-label": "Sources", hidden: true });
    this.figures = h("span", { class: "muted small figures" });
    element.append(
      this.reasoning,
      this.calls,
      this.said,
      this.text,
      this.state,
      this.error,
      this.grounding,
      this.sources,
    );
    element.addEventListener("click", (event) => {
      const button = event.target instanceof Element ? event.target.closest("button[data-source]") : null;
      if (button instanceof HTMLElement) {
        view.actions.openSource(view.message, Number(button.dataset.source), button);
      }
    });
    this.text.addEventListener("rendered", () => this.nameCitations());
  }

  /** @param {Message} message */
  update(message) {
    const ended = isFinal(message);
    this.view.element.classList.toggle("is-written", !ended && message.text !== "");
    this.view.footer.hidden = !ended;
    this.text.show(message.text, ended);
    this.reasoning.hidden = message.reasoning === "";
    if (this.thought.textContent !== message.reasoning) this.thought.textContent = message.reasoning;
    this.updateCalls(message.calls);
    this.updateState(message);
    if (this.sources.childElementCount === 0 && message.sources.length > 0) this.showSources(message);
    if (this.said.hidden && message.model !== "") this.showSaid(message);
    if (ended) this.updateEnd(message);
  }

  /** Show the sentences that answer best, where the model is too small to be relied on. @param {Message} message */
  showSaid({ sources, model }) {
    const best = sources[0];
    if (best === undefined || !this.view.actions.isDemonstration(model)) return;
    const sentences = best.highlights.map(({ text }) => withoutHeadings(text)).filter((text) => text !== "");
    if (sentences.length === 0) return;
    const quotes = sentences.map((text) => h("p", { dir: "auto" }, text, " ", citation(best.index)));
    fill(this.said, h("h2", {}, "What the documents say"), h("blockquote", {}, quotes));
    this.said.hidden = false;
    this.nameCitations();
  }

  /** @param {Message} message */
  updateState(message) {
    const text = stateText(message);
    this.state.hidden = text === "";
    const shown = this.state.dataset.shown;
    if (shown === text) return;
    this.state.dataset.shown = text;
    fill(this.state, !isFinal(message) && h("span", { class: "pulse", "aria-hidden": "true" }), text);
    if (message.state === "indexing") {
      const now = () => this.view.actions.withoutFiles(this.view.message);
      this.state.append(" ", h("button", { type: "button", class: "button small", onclick: now }, "Ask now"));
    }
  }

  /** @param {ToolCall[]} calls */
  updateCalls(calls) {
    calls.forEach((call, position) => {
      const known = this.calls.children[position];
      const key = `${call.id} ${call.arguments.length} ${call.done}`;
      if (known instanceof HTMLElement && known.dataset.key === key) return;
      const shown = callView(call);
      shown.dataset.key = key;
      if (known instanceof HTMLDetailsElement) {
        shown.open = known.open;
        known.replaceWith(shown);
      } else {
        this.calls.append(shown);
      }
    });
  }

  /** @param {Message} message */
  showSources(message) {
    const items = message.sources.map((source) =>
      h(
        "li",
        {},
        h(
          "button",
          { type: "button", class: "source-link", "data-source": source.index },
          h("span", { class: "source-number" }, source.index),
          h("span", { class: "source-name" }, h("bdi", {}, source.file)),
          h("span", { class: "muted source-place" }, h("bdi", {}, placeOf(source))),
        ),
      ),
    );
    fill(this.sources, h("h2", {}, "Sources"), h("ol", {}, items));
    this.sources.hidden = false;
    this.nameCitations();
  }

  /** Say what the numbers in the text stand for. A number without a source stays text. */
  nameCitations() {
    for (const button of this.view.element.querySelectorAll("button.citation")) {
      if (!(button instanceof HTMLElement)) continue;
      const number = Number(button.dataset.source);
      const source = this.view.message.sources.find(({ index }) => index === number);
      if (source === undefined) {
        button.replaceWith(`[${number}]`);
      } else {
        const label = [`Source ${number}: ${source.file}`, placeOf(source)].filter(Boolean).join(", ");
        button.setAttribute("aria-label", label);
        button.title = label;
      }
    }
  }

  /** @param {Message} message */
  updateEnd(message) {
    this.error.hidden = message.state !== "failed";
    if (message.state === "failed") {
      const again = () => this.view.actions.regenerate(this.view.message);
      fill(
        this.error,
        h("p", {}, message.error),
        h("button", { type: "button", class: "button", onclick: again }, icon("retry"), "Try again"),
      );
    }
    this.grounding.hidden = message.grounded !== false;
    if (message.missing) fill(this.grounding, missingText(message.missing));
    const speed =
      message.seconds > 0 && message.tokens > 1 ? `${(message.tokens / message.seconds).toFixed(1)} tokens/s` : "";
    const figures = [message.tokens > 0 && counted(message.tokens, "token"), speed].filter(Boolean);
    const hasBoth = message.model !== "" && figures.length > 0;
    fill(this.figures, h("bdi", {}, message.model), hasBoth && " · ", figures.join(" · "));
  }
}

/** @param {string} text of a document, which may be Markdown @returns {string} */
function withoutHeadings(text) {
  return text
    .replace(/^#+ .*$/gm, "")
    .replace(/^[-*] /, "")
    .trim();
}

/** @param {number} number */
function citation(number) {
  const label = `Source ${number}`;
  return h("button", { type: "button", class: "citation", "data-source": number, "aria-label": label }, number);
}

/** @param {ToolCall} call @returns {HTMLDetailsElement} */
function callView(call) {
  const state = call.error !== null ? "failed" : call.done ? "done" : "runs";
  const badge = h("span", { class: `badge ${{ failed: "bad", done: "good", runs: "active" }[state]}` }, state);
  const result = call.error ?? (typeof call.result === "string" ? call.result : JSON.stringify(call.result, null, 2));
  return h(
    "details",
    { class: "fold call" },
    h("summary", {}, "Function ", h("code", {}, call.name), " ", badge),
    h("h3", {}, "Arguments"),
    h("pre", {}, pretty(call.arguments)),
    call.done && h("h3", {}, call.error === null ? "Result" : "Error"),
    call.done && h("pre", {}, result),
  );
}

/** @param {string} json @returns {string} */
function pretty(json) {
  try {
    return JSON.stringify(JSON.parse(json), null, 2);
  } catch {
    return json; // it is still being written
  }
}

/** @param {{question: string[], answer: string[]}} missing */
function missingText({ question, answer }) {
  return [
    h("strong", {}, "Not supported by the documents."),
    question.length > 0 && h("p", { dir: "auto" }, `They do not mention: ${question.join(", ")}.`),
    answer.length > 0 &&
      h("p", { dir: "auto" }, `No source says: ${answer.map((text) => `“${text.trim()}”`).join(" ")}`),
  ];
}

/** @param {Message} message @returns {string} what the user has to know about the state, or "" */
export function stateText(message) {
  switch (message.state) {
    case "indexing":
      return "Waits until the files are searchable.";
    case "sending":
      return "Sending the question …";
    case "queued":
      return waitingText(message);
    case "running":
      if (message.text !== "") return "";
      if (message.sources.length > 0) return `Reads ${counted(message.sources.length, "passage")} …`;
      return message.searched ? "Searches the documents …" : "Thinks …";
    case "cancelled":
      return "Stopped.";
    case "completed":
      return message.finish === "length" ? "The answer was cut off: it reached the limit of its length." : "";
    default:
      return "";
  }
}

/** @param {Message} message */
function waitingText({ waiting }) {
  if (waiting === null) return "Waits for its turn …";
  const percent = waiting.percent === null ? "" : ` (${waiting.percent} %)`;
  if (waiting.loading) return `The model is being loaded${percent} …`;
  const start = waiting.seconds === null ? "" : `, starts in about ${duration(waiting.seconds)}`;
  const before =
    waiting.position === 0 ? "Next in the queue" : `${counted(waiting.position, "request")} before this one`;
  return `${before}${start} …`;
}

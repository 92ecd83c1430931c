// The field for questions: Enter sends, Shift+Enter breaks the line, files are pasted, chosen or dropped.

import { byId, icon } from "../dom.js";
import { acceptChosen, acceptDrops } from "../drop.js";

/** @typedef {{file: File, name: string}} NamedFile */

/**
 * @typedef {object} ComposerActions
 * @property {(text: string) => void} send
 * @property {() => void} stop
 * @property {(files: NamedFile[]) => void} addFiles
 */

export class Composer {
  /** @param {ComposerActions} actions */
  constructor(actions) {
    this.actions = actions;
    this.form = byId("ask", HTMLFormElement);
    this.field = byId("question", HTMLTextAreaElement);
    this.button = byId("send", HTMLButtonElement);
    this.isAnswering = false;
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.submit();
    });
    this.field.addEventListener("keydown", (event) => {
      // The Enter that ends the input of a Chinese or Japanese word is not meant for the page.
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      if (!this.isAnswering) this.submit();
    });
    this.field.addEventListener("input", () => this.resize());
    this.acceptFiles();
    this.setAnswering(false);
  }

  submit() {
    if (this.isAnswering) return this.actions.stop();
    const text = this.field.value.trim();
    if (text === "") return this.field.focus();
    this.text = "";
    this.actions.send(text);
    this.field.focus();
  }

  /** What has been typed. */
  get text() {
    return this.field.value;
  }

  set text(text) {
    this.field.value = text;
    this.resize();
  }

  focus() {
    this.field.focus();
  }

  /** @param {boolean} isAnswering whether the button stops the answer instead of sending a question */
  setAnswering(isAnswering) {
    if (this.button.dataset.shown === String(isAnswering)) return;
    this.button.dataset.shown = String(isAnswering);
    this.isAnswering = isAnswering;
    this.button.classList.toggle("is-stop", isAnswering);
    const label = isAnswering ? "Stop the answer" : "Send";
    this.button.setAttribute("aria-label", label);
    this.button.title = label;
    this.button.replaceChildren(icon(isAnswering ? "stop" : "send"));
  }

  resize() {
    this.field.style.height = "auto";
    this.field.style.height = `${this.field.scrollHeight + 2}px`;
  }

  acceptFiles() {
    const input = byId("file-input", HTMLInputElement);
    byId("attach").addEventListener("click", () => input.click());
    acceptChosen(input, (files) => this.add(files));
    acceptDrops((files) => this.add(files));
    this.field.addEventListener("paste", (event) => {
      const files = [...(event.clipboardData?.files ?? [])].map((file) => ({ file, name: file.name }));
      if (files.length === 0) return;
      event.preventDefault();
      this.add(files);
    });
  }

  /** @param {NamedFile[]} files */
  add(files) {
    if (files.length > 0) this.actions.addFiles(files);
    this.focus();
  }
}

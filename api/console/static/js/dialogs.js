// Questions that must be answered before the page goes on.

import { fill, h } from "./dom.js";

let made = 0;

/** @returns {string} an id that no other dialog has */
function newId() {
  made += 1;
  return `dialog-${made}`;
}

/**
 * Ask whether to do something.
 *
 * @param {object} question
 * @param {string} question.title
 * @param {string} question.text what will happen
 * @param {string} question.action the words of the button that does it
 * @param {boolean} [question.danger] whether it cannot be undone
 * @returns {Promise<boolean>}
 */
export async function confirmed({ title, text, action, danger = true }) {
  const answer = await show(title, action, danger, h("p", {}, text));
  return answer !== null;
}

/**
 * Ask for a line of text.
 *
 * @param {object} question
 * @param {string} question.title
 * @param {string} question.label of the field
 * @param {string} question.action
 * @param {string} [question.value]
 * @param {string} [question.help]
 * @returns {Promise<string | null>} null if it was not answered
 */
export async function asked({ title, label, action, value = "", help = "" }) {
  const input = h("input", { name: "answer", value, required: true, autocomplete: "off", maxlength: "255" });
  input.select();
  const answer = await show(
    title,
    action,
    false,
    h("label", { class: "field" }, label, input),
    help && h("p", { class: "muted small" }, help),
  );
  return answer === null ? null : input.value.trim();
}

/**
 * Show a dialog with contents of its own, until it is closed.
 *
 * @param {string} title
 * @param {...Node} children
 * @returns {HTMLDialogElement}
 */
export function openDialog(title, ...children) {
  const id = newId();
  const close = h("button", { type: "submit", class: "button" }, "Close");
  const dialog = h(
    "dialog",
    { class: "dialog wide", "aria-labelledby": id },
    h(
      "form",
      { method: "dialog", class: "stack" },
      h("h2", { id }, title),
      ...children,
      h("div", { class: "row end-row" }, close),
    ),
  );
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

/**
 * @param {string} title
 * @param {string} action
 * @param {boolean} danger
 * @param {...(Node | string)} children
 * @returns {Promise<string | null>}
 */
function show(title, action, danger, ...children) {
  const id = newId();
  const cancel = h("button", { type: "button", class: "button" }, "Cancel");
  const submit = h(
    "button",
    { type: "submit", class: `button ${danger ? "danger" : "primary"}`, value: "yes" },
    action,
  );
  const form = h("form", { method: "dialog", class: "stack" });
  fill(form, h("h2", { id }, title), ...children, h("div", { class: "row end-row" }, cancel, submit));
  const dialog = h("dialog", { class: "dialog", "aria-labelledby": id }, form);
  cancel.onclick = () => dialog.close();
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "yes" ? "yes" : null);
    });
  });
}

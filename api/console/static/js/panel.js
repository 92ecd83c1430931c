// A part of a page that is beside the rest where there is room, and in a dialog over it where there is not.

import { h } from "./dom.js";

export class Panel {
  /**
   * @param {HTMLElement} content which the side has at first
   * @param {HTMLElement} side
   * @param {HTMLDialogElement} dialog
   */
  constructor(content, side, dialog) {
    this.content = content;
    this.side = side;
    this.dialog = dialog;
    /** @type {() => void} */
    this.onclose = () => undefined;
    dialog.addEventListener("close", () => {
      if (side.contains(content)) return;
      side.append(content);
      this.onclose();
    });
    // A click beside the panel closes it.
    dialog.addEventListener("click", (event) => {
      if (event.target === dialog) dialog.close();
    });
  }

  /** Whether it covers the page. */
  get isDialog() {
    return this.dialog.open;
  }

  openDialog() {
    if (this.dialog.open) return;
    this.dialog.append(this.content);
    this.dialog.showModal();
  }

  closeDialog() {
    if (this.dialog.open) this.dialog.close();
  }

  /** Move the content beside the page, without closing it. */
  moveToSide() {
    this.side.append(this.content);
    this.closeDialog();
  }
}

/**
 * Ask before something that cannot be undone.
 *
 * @param {string} title
 * @param {string} text
 * @param {string} action the label of the button that does it
 * @param {string} [option] the label of a checkbox, which is ticked
 * @returns {Promise<{option: boolean} | null>} null if the user does not want it
 */
export function confirmed(title, text, action, option) {
  const checkbox = h("input", { type: "checkbox", checked: true });
  const dialog = h("dialog", { class: "dialog stack", "aria-label": title });
  const close = (/** @type {string} */ value) => dialog.close(value);
  dialog.append(
    h("h2", {}, title),
    h("p", {}, text),
    ...(option ? [h("label", { class: "row" }, checkbox, option)] : []),
    h(
      "div",
      { class: "row dialog-actions" },
      h("button", { type: "button", class: "button", onclick: () => close("") }, "Keep"),
      h("button", { type: "button", class: "button danger", onclick: () => close("yes") }, action),
    ),
  );
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.onclose = () => {
      dialog.remove();
      resolve(dialog.returnValue === "yes" ? { option: option !== undefined && checkbox.checked } : null);
    };
  });
}

/**
 * Make `<details class="menu">` close as menus do: by Escape, and when something else is clicked or focused.
 *
 * @param {HTMLDetailsElement} details
 */
export function closesItself(details) {
  const summary = details.querySelector("summary");
  details.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !details.open) return;
    event.stopPropagation();
    details.open = false;
    summary?.focus();
  });
  for (const name of ["pointerdown", "focusin"]) {
    document.addEventListener(name, (event) => {
      if (details.open && event.target instanceof Node && !details.contains(event.target)) details.open = false;
    });
  }
}

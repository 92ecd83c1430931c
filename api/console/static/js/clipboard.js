// Copies text, also where browsers offer no clipboard: on a page that came over plain HTTP from another machine.

import { h } from "./dom.js";
import { toast } from "./toast.js";

/**
 * Copy a text and say so.
 *
 * @param {string} text
 * @returns {Promise<void>}
 */
export async function copy(text) {
  const copied = (await copyBySystem(text)) || copyBySelection(text);
  if (copied) toast("Copied.");
  else toast("The browser does not allow copying here. Select the text and copy it yourself.", "error");
}

/** @param {string} text */
async function copyBySystem(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false; // there is no clipboard here, or the user refuses
  }
}

/** @param {string} text */
function copyBySelection(text) {
  const focused = document.activeElement;
  const field = h("textarea", { class: "visually-hidden", "aria-hidden": "true" });
  field.value = text;
  document.body.append(field);
  field.select();
  const copied = document.execCommand("copy");
  field.remove();
  if (focused instanceof HTMLElement) focused.focus();
  return copied;
}

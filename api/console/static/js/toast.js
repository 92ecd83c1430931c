// Short messages at the edge of the page, which screen readers speak.

import { ApiError } from "./api.js";
import { byId, h, iconButton } from "./dom.js";

const SHOWN_MS = 6000;

/**
 * Show a message for some seconds; an error stays until it is closed.
 *
 * @param {string} text
 * @param {"info" | "error"} [kind]
 */
export function toast(text, kind = "info") {
  const item = h("div", { class: `toast ${kind}` }, h("p", {}, text));
  item.append(iconButton("close", "Close the message", () => item.remove()));
  const shown = byId("toasts");
  shown.append(item);
  while (shown.children.length > 4) shown.firstElementChild?.remove();
  if (kind === "info") window.setTimeout(() => item.remove(), SHOWN_MS);
}

/**
 * Do what a click asks for, and show its error if it fails.
 *
 * @param {() => Promise<unknown>} action
 * @returns {Promise<boolean>} whether it succeeded
 */
export async function attempt(action) {
  try {
    await action();
    return true;
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    if (error.status !== 401) toast(error.message, "error");
    return false;
  }
}

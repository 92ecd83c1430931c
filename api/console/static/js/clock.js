// Keeps the relative times of a page right.

import { ago } from "./format.js";

const TICK_MS = 30_000;

/** Write all `time` elements again twice a minute. */
export function keepTimesRight() {
  window.setInterval(() => {
    for (const element of document.querySelectorAll("time[data-unix]")) {
      element.textContent = ago(Number(/** @type {HTMLElement} */ (element).dataset.unix));
    }
  }, TICK_MS);
}

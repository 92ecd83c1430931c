// Does once what many events ask for.

import { attempt } from "./toast.js";

/**
 * Return a function that does something soon, once for all calls until then, and not more often than at this interval.
 *
 * @param {() => Promise<void>} action
 * @param {number} interval milliseconds
 * @returns {() => void}
 */
export function coalesced(action, interval) {
  let isBusy = false;
  let isAsked = false;
  let last = Number.NEGATIVE_INFINITY;
  const start = () => {
    isBusy = true;
    const wait = Math.max(0, last + interval - performance.now());
    window.setTimeout(async () => {
      isAsked = false;
      last = performance.now();
      await attempt(action);
      isBusy = false;
      // What happened meanwhile may be missing in the answer.
      if (isAsked) start();
    }, wait);
  };
  return () => {
    isAsked = true;
    if (!isBusy) start();
  };
}

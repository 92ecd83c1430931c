// The page's one stream of changes, from GET /v1/events.

import { root, queryString } from "./api.js";
import { byId } from "./dom.js";

/** How long the browser may go without an open stream before the page says so, in milliseconds. */
const SILENCE_MS = 3000;
/** A page that nobody has seen for this time gives its connection back: browsers have few for all tabs of a server. */
const HIDDEN_MS = 60_000;

/**
 * Follow changes until the page is closed. The browser reconnects by itself and says which event it had last.
 *
 * @param {string[]} topics of `documents`, `jobs`, `models`
 * @param {Record<string, (data: any) => void>} handlers by event name; `reset` means: load everything again
 * @param {Record<string, string>} [narrowed] further parameters, such as the collection
 * @returns {() => void} ends it
 */
export function follow(topics, handlers, narrowed = {}) {
  const label = byId("connection");
  /** @type {number | undefined} */
  let timer;
  /** @type {EventSource} */
  let source;
  let isEnded = false;
  /** @type {number | undefined} */
  let hiddenTimer;

  const open = () => {
    source = new EventSource(`${root}/v1/events${queryString({ topics: topics.join(","), ...narrowed })}`);
    source.onopen = () => {
      clearTimeout(timer);
      timer = undefined;
      label.hidden = true;
    };
    source.onerror = () => {
      timer ??= window.setTimeout(() => (label.hidden = false), SILENCE_MS);
      // A browser does not try again after an answer that is no stream, such as a proxy's 502.
      if (source.readyState === EventSource.CLOSED && !isEnded) window.setTimeout(reopen, SILENCE_MS);
    };
    for (const [name, handle] of Object.entries(handlers)) {
      source.addEventListener(name, (event) => handle(JSON.parse(/** @type {MessageEvent} */ (event).data)));
    }
  };
  const reopen = () => {
    if (isEnded) return;
    open();
    handlers.reset?.({});
  };
  const seen = () => {
    clearTimeout(hiddenTimer);
    if (document.hidden) hiddenTimer = window.setTimeout(() => source.close(), HIDDEN_MS);
    else if (source.readyState === EventSource.CLOSED) reopen();
  };
  const close = () => {
    isEnded = true;
    clearTimeout(timer);
    clearTimeout(hiddenTimer);
    document.removeEventListener("visibilitychange", seen);
    source.close();
  };
  document.addEventListener("visibilitychange", seen);
  open();
  return close;
}

// Follows the events of a job, across broken connections and closed windows.

import { ApiError, send } from "./api.js";

const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 10_000;
const TERMINAL = new Set(["finished", "failed", "cancelled"]);

/** @typedef {{number: number, data: any}} JobEvent */

/**
 * Yield the events of a job after the one with a number, until the last one, or until no further one will come.
 *
 * @param {string} job
 * @param {number} after
 * @param {AbortSignal} signal
 * @returns {AsyncGenerator<JobEvent>}
 * @throws {ApiError} the server knows no such job, or refuses
 */
export async function* jobEvents(job, after, signal) {
  let last = after;
  let pause = FIRST_PAUSE_MS;
  while (!signal.aborted) {
    try {
      const headers = { accept: "text/event-stream", ...(last > 0 && { "last-event-id": String(last) }) };
      const response = await send("GET", `/v1/jobs/${job}/events`, { headers, signal });
      if (response.status === 204 || response.body === null) return;
      for await (const event of parsed(response.body)) {
        last = event.number;
        pause = FIRST_PAUSE_MS;
        yield event;
        if (TERMINAL.has(event.data.type)) return;
      }
    } catch (error) {
      if (signal.aborted) return;
      // Without an answer, or with one of a server that is starting, the job goes on: so does the wait for it.
      if (error instanceof ApiError && error.status !== 0 && error.status < 500) throw error;
    }
    await rest(pause, signal);
    pause = Math.min(pause * 2, LONGEST_PAUSE_MS);
  }
}

/** @param {ReadableStream<Uint8Array>} body @returns {AsyncGenerator<JobEvent>} */
async function* parsed(body) {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let buffer = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      buffer += decoder.decode(value, { stream: true });
      const frames = buffer.split(/\r?\n\r?\n/);
      buffer = frames.pop() ?? "";
      for (const frame of frames) {
        const event = parsedFrame(frame);
        if (event) yield event;
      }
    }
  } finally {
    void reader.cancel().catch(() => undefined);
  }
}

/** @param {string} frame @returns {JobEvent | null} null for a comment */
function parsedFrame(frame) {
  let number = 0;
  let data = "";
  for (const line of frame.split(/\r?\n/)) {
    if (line.startsWith("id:")) number = Number(line.slice(3));
    else if (line.startsWith("data:")) data += line.slice(5).trimStart();
  }
  return data === "" ? null : { number, data: JSON.parse(data) };
}

/** @param {number} milliseconds @param {AbortSignal} signal @returns {Promise<void>} */
function rest(milliseconds, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, milliseconds);
    const stop = () => {
      clearTimeout(timer);
      resolve();
    };
    signal.addEventListener("abort", stop, { once: true });
  });
}

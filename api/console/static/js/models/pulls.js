// The downloads of models that are under way, each followed by the events of its job.

import { call, get, post } from "../api.js";
import { fill, h, iconButton } from "../dom.js";
import { bytes, duration } from "../format.js";
import { jobEvents } from "../job_events.js";
import { attempt, toast } from "../toast.js";

/** @typedef {import("../wire.js").Job} Job */

export class Pulls {
  /** The ids of the jobs that are followed. @type {Set<string>} */
  #followed = new Set();

  /**
   * @param {HTMLElement} list
   * @param {() => void} onfinished
   */
  constructor(list, onfinished) {
    this.list = list;
    this.onfinished = onfinished;
  }

  /** Show the downloads that have been started already, here or elsewhere. */
  async load() {
    for (const status of ["running", "queued"]) {
      /** @type {Job[]} */
      const jobs = (await get("/v1/jobs", { status, limit: 100 })).data;
      for (const job of jobs) this.take(job);
    }
  }

  /**
   * Download a model.
   *
   * @param {string} model
   */
  async start(model) {
    this.take(await post("/v1/models/pull", { model }, { prefer: "respond-async" }), model);
  }

  /**
   * Follow a job if it is a download that has not ended.
   *
   * @param {Job} job
   * @param {string} [model]
   */
  take(job, model = "") {
    const isOver = job.status !== "running" && job.status !== "queued";
    if (job.kind !== "pull" || isOver || this.#followed.has(job.id)) return;
    const row = pullRow(job.id, model);
    this.list.append(row.element);
    this.#followed.add(job.id);
    void attempt(() => this.#follow(job.id, row)).then(() => {
      this.#followed.delete(job.id);
      row.element.remove();
      this.onfinished();
    });
  }

  /**
   * @param {string} id of the job
   * @param {ReturnType<typeof pullRow>} row
   */
  async #follow(id, row) {
    for await (const { data } of jobEvents(id, 0, new AbortController().signal)) {
      if (data.type === "accepted") row.name(data.model);
      else if (data.type === "progress") row.progress(data.done_bytes ?? 0, data.total_bytes ?? 0);
      else if (data.type === "finished") toast(`${data.model} has been downloaded.`);
      else if (data.type === "failed") toast(data.error.message, "error");
      else if (data.type === "cancelled")
        toast("The download is cancelled. What has been downloaded is kept for the next time.");
    }
  }
}

/** @param {string} id @param {string} model */
function pullRow(id, model) {
  const name = h("span", { class: "pull-name" }, model || "A model");
  const state = h("span", { class: "muted small" }, "Waits to be downloaded");
  const bar = h("progress", { max: 100, "aria-label": `Download of ${model || "a model"}` });
  const cancel = iconButton(
    "stop",
    "Cancel the download",
    () => void attempt(() => call("DELETE", `/v1/jobs/${encodeURIComponent(id)}`)),
  );
  const element = h("li", { class: "card pull" }, h("div", { class: "pull-text" }, name, state, bar), cancel);
  const began = { at: 0, bytes: 0 };
  return {
    element,
    name: (/** @type {string} */ text) => {
      fill(name, text);
      bar.setAttribute("aria-label", `Download of ${text}`);
    },
    progress: (/** @type {number} */ done, /** @type {number} */ total) => {
      const now = performance.now() / 1000;
      if (began.at === 0) Object.assign(began, { at: now, bytes: done });
      const speed = now - began.at > 2 ? (done - began.bytes) / (now - began.at) : 0;
      const rest = speed > 0 ? ` · ${bytes(speed)}/s · ${duration((total - done) / speed)} left` : "";
      fill(state, `${bytes(done)} of ${bytes(total)}${rest}`);
      bar.value = total > 0 ? (100 * done) / total : 0;
    },
  };
}

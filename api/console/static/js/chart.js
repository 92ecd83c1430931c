// Small bar charts, with their numbers as a table for those who do not see them.

import { h } from "./dom.js";
import { count } from "./format.js";

const SVG = "http://www.w3.org/2000/svg";
const [WIDTH, HEIGHT] = [240, 56];

/** @typedef {{label: string, class: string, values: number[]}} Series stacked in their order */

/**
 * @param {object} chart
 * @param {string} chart.title
 * @param {string} chart.unit of the values, such as `documents`
 * @param {number[]} chart.times Unix seconds at which each bar begins
 * @param {Series[]} chart.series
 * @returns {HTMLElement}
 */
export function barChart({ title, unit, times, series }) {
  const sums = times.map((_, index) => series.reduce((sum, { values }) => sum + (values[index] ?? 0), 0));
  const total = sums.reduce((sum, value) => sum + value, 0);
  const most = Math.max(0, ...sums);
  const text = `${count(total)} ${unit} in the last hour, at most ${count(most)} a minute`;
  const parts = series.length > 1 ? series.map(({ label, values }) => `${count(add(values))} ${label}`).join(", ") : "";
  return h(
    "figure",
    { class: "chart" },
    h(
      "figcaption",
      {},
      h("span", {}, title),
      h("strong", {}, count(total)),
      h("span", { class: "muted small" }, parts),
    ),
    bars(text, times, series, most),
    h(
      "div",
      { class: "chart-axis muted small", "aria-hidden": "true" },
      h("span", {}, "an hour ago"),
      h("span", {}, most > 0 && `at most ${count(most)}`),
      h("span", {}, "now"),
    ),
    h("details", {}, h("summary", { class: "small" }, "As a table"), table(title, times, series)),
  );
}

/** @param {number[]} values @returns {number} */
function add(values) {
  return values.reduce((sum, value) => sum + value, 0);
}

/**
 * @param {string} text what the chart shows, in words
 * @param {number[]} times
 * @param {Series[]} series
 * @param {number} most
 * @returns {SVGElement}
 */
function bars(text, times, series, most) {
  const svg = element("svg", {
    viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
    preserveAspectRatio: "none",
    role: "img",
    "aria-label": text,
  });
  const width = WIDTH / Math.max(1, times.length);
  svg.append(element("line", { class: "chart-base", x1: 0, x2: WIDTH, y1: HEIGHT - 0.5, y2: HEIGHT - 0.5 }));
  times.forEach((_, index) => {
    let top = HEIGHT;
    for (const { class: name, values } of series) {
      const value = values[index] ?? 0;
      if (value === 0) continue;
      const height = Math.max(1.5, ((HEIGHT - 2) * value) / Math.max(most, 1));
      top -= height;
      svg.append(
        element("rect", {
          class: name,
          x: index * width + width * 0.1,
          y: Math.max(0, top),
          width: width * 0.8,
          height,
        }),
      );
    }
  });
  return svg;
}

/** @param {string} name @param {Record<string, string | number>} attributes @returns {SVGElement} */
function element(name, attributes) {
  const made = /** @type {SVGElement} */ (document.createElementNS(SVG, name));
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, String(value));
  return made;
}

/** @param {string} title @param {number[]} times @param {Series[]} series @returns {HTMLElement} */
function table(title, times, series) {
  const rows = times
    .map((at, index) => ({ at, values: series.map(({ values }) => values[index] ?? 0) }))
    .filter(({ values }) => values.some((value) => value > 0))
    .reverse();
  if (rows.length === 0) return h("p", { class: "muted small" }, "Nothing in the last hour.");
  const clock = (/** @type {number} */ at) =>
    new Date(at * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  return h(
    "div",
    { class: "table-frame chart-table", tabindex: 0, role: "region", "aria-label": `${title} by minute` },
    h(
      "table",
      {},
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          h("th", { scope: "col" }, "Minute"),
          ...series.map(({ label }) => h("th", { scope: "col", class: "number" }, label)),
        ),
      ),
      h(
        "tbody",
        {},
        ...rows.map(({ at, values }) =>
          h("tr", {}, h("td", {}, clock(at)), ...values.map((value) => h("td", { class: "number" }, count(value)))),
        ),
      ),
    ),
  );
}

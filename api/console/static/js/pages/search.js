// The search page. Its address can fill in the fields; only the user searches.

import { ApiError, get, post } from "../api.js";
import { byId, fill, h, iconButton } from "../dom.js";
import { counted } from "../format.js";
import { OPERATORS, filterOf } from "../search/filter.js";
import { hitItems } from "../search/hits.js";
import { signedIn } from "../session.js";
import { attempt } from "../toast.js";

/** @typedef {import("../search/filter.js").Condition} Condition */

const form = byId("search-form", HTMLFormElement);
const conditions = byId("conditions");
const collections = byId("collections");
/** The fields that hold one value each. */
const PLAIN = ["query", "top_k", "match", "score_threshold", "diversity", "neighbours", "rerank"];
/** @type {AbortController | null} */
let running = null;

/** @param {string} name @returns {HTMLInputElement} */
function field(name) {
  return /** @type {HTMLInputElement} */ (form.elements.namedItem(name));
}

/** Fill in the fields from the page's address. */
function readAddress() {
  const query = new URLSearchParams(location.search);
  for (const name of PLAIN) {
    const value = query.get(name);
    if (value !== null) field(name).value = value;
  }
  const found = query.getAll("filter").flatMap((text) => condition(text) ?? []);
  fill(conditions, ...found.map(conditionRow));
  byId("options", HTMLDetailsElement).open = found.length > 0 || PLAIN.slice(2).some((name) => query.has(name));
}

/** @param {string} text @returns {Condition | null} */
function condition(text) {
  const [key = "", operator = "", ...value] = text.split(":");
  return OPERATORS.some(([name]) => name === operator) ? { key, operator, value: value.join(":") } : null;
}

/** Keep the fields in the page's address, so that going back finds them. */
function writeAddress() {
  const query = new URLSearchParams();
  for (const name of PLAIN) {
    const { value, defaultValue } = field(name);
    if (value !== "" && value !== (defaultValue ?? "") && !(name === "match" && value === "and"))
      query.set(name, value);
  }
  for (const name of chosenCollections()) query.append("collection", name);
  for (const { key, operator, value } of readConditions())
    if (key && value) query.append("filter", `${key}:${operator}:${value}`);
  history.replaceState(null, "", query.size > 0 ? `?${query}` : location.pathname);
}

/** @returns {string[]} */
function chosenCollections() {
  return [...collections.querySelectorAll("input:checked")].map(
    (input) => /** @type {HTMLInputElement} */ (input).value,
  );
}

/** @returns {Condition[]} */
function readConditions() {
  return [...conditions.children].map((row) => {
    const read = (/** @type {string} */ name) =>
      /** @type {HTMLInputElement} */ (row.querySelector(`[name="${name}"]`)).value.trim();
    return { key: read("condition-key"), operator: read("condition-operator"), value: read("condition-value") };
  });
}

/** @param {Condition} given @returns {HTMLElement} */
function conditionRow({ key, operator, value }) {
  const select = h(
    "select",
    { name: "condition-operator", "aria-label": "Comparison" },
    ...OPERATORS.map(([name, label]) => h("option", { value: name, selected: name === operator }, label)),
  );
  const row = h(
    "div",
    { class: "condition" },
    h("input", {
      name: "condition-key",
      value: key,
      "aria-label": "Attribute",
      placeholder: "Attribute",
      list: "keys",
      maxlength: 128,
      autocomplete: "off",
    }),
    select,
    h("input", {
      name: "condition-value",
      value,
      "aria-label": "Value",
      placeholder: "Value or date",
      autocomplete: "off",
    }),
  );
  row.append(
    iconButton("close", "Remove the filter", () => {
      row.remove();
      byId("add-filter").focus();
    }),
  );
  return row;
}

async function showCollections() {
  const chosen = new Set(new URLSearchParams(location.search).getAll("collection"));
  /** @type {import("../wire.js").Collection[]} */
  const found = (await get("/v1/rag/collections")).data;
  byId("collections-field").hidden = found.length < 2;
  fill(
    collections,
    ...found.map(({ name }) =>
      h(
        "label",
        { class: "choice" },
        h("input", { type: "checkbox", value: name, checked: chosen.has(name) }),
        h("span", {}, name),
      ),
    ),
  );
  if (found.every(({ coverage }) => coverage.indexed === 0)) {
    byId("summary").textContent = "No document is searchable yet. Add some on the documents page.";
  }
}

/** @returns {object} the body of the request */
function body() {
  const number = (/** @type {string} */ name) => (field(name).value === "" ? null : Number(field(name).value));
  const rerank = field("rerank").value;
  return {
    query: field("query").value,
    top_k: number("top_k"),
    collections: chosenCollections().length > 0 ? chosenCollections() : null,
    filters: filterOf(readConditions(), field("match").value === "or" ? "or" : "and"),
    score_threshold: number("score_threshold"),
    diversity: number("diversity"),
    neighbours: number("neighbours"),
    rerank: rerank === "" ? null : rerank === "true",
    explain: true,
  };
}

async function search() {
  running?.abort();
  const mine = new AbortController();
  running = mine;
  writeAddress();
  const [summary, error, button] = [byId("summary"), byId("search-error"), byId("search-button", HTMLButtonElement)];
  error.textContent = "";
  summary.textContent = "Searching…";
  button.disabled = true;
  try {
    const started = performance.now();
    const answer = await post("/v1/rag/search", body());
    if (running !== mine) return;
    fill(byId("hits"), ...hitItems(answer.data));
    summary.textContent = summaryOf(answer, performance.now() - started);
  } catch (problem) {
    if (!(problem instanceof ApiError)) throw problem;
    summary.textContent = "";
    fill(byId("hits"));
    error.textContent = problem.message;
  } finally {
    button.disabled = false;
  }
}

/** @param {any} answer @param {number} elapsed milliseconds @returns {string} */
function summaryOf({ data, timings, explanation }, elapsed) {
  if (data.length === 0) return "Nothing was found. Other words, fewer filters or a lower threshold may find more.";
  /** @type {{name: string, milliseconds: number, points?: number | null}[]} */
  const stages = explanation?.stages ?? Object.entries(timings).map(([name, milliseconds]) => ({ name, milliseconds }));
  const parts = stages
    .filter(({ milliseconds }) => milliseconds > 0)
    .map(({ name, milliseconds, points }) => {
      const left = points === null || points === undefined ? "" : `, ${counted(points, "point")}`;
      return `${name.replace(/_ms$/, "").replaceAll("_", " ")} ${milliseconds.toFixed(milliseconds < 10 ? 1 : 0)} ms${left}`;
    });
  const all = `${counted(data.length, "hit")} in ${Math.round(elapsed)} ms`;
  return parts.length > 0 ? `${all}: ${parts.join(" · ")}` : all;
}

async function start() {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    void search();
  });
  byId("add-filter").onclick = () => {
    const row = conditionRow({ key: "", operator: "eq", value: "" });
    conditions.append(row);
    row.querySelector("input")?.focus();
  };
  readAddress();
  await signedIn();
  await showCollections();
}

void attempt(start);

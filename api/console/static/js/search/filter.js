// Filters on attributes, as people write them, in the form of the API.

/** @typedef {{key: string, operator: string, value: string}} Condition */

/** The operators by their name in the API, with their labels. */
export const OPERATORS = /** @type {const} */ ([
  ["eq", "is"],
  ["ne", "is not"],
  ["in", "is one of"],
  ["nin", "is none of"],
  ["gte", "from (≥)"],
  ["lte", "up to (≤)"],
  ["gt", "after (>)"],
  ["lt", "before (<)"],
]);

const NUMBER = /^-?\d+(\.\d+)?$/;

/**
 * Return the filter of these conditions, or null if there are none.
 *
 * @param {Condition[]} conditions
 * @param {"and" | "or"} type
 * @returns {object | null}
 */
export function filterOf(conditions, type) {
  const filters = conditions.filter(({ key, value }) => key && value).map(comparison);
  return filters.length < 2 ? (filters[0] ?? null) : { type, filters };
}

/**
 * @param {Condition} condition
 * @returns {object}
 */
function comparison({ key, operator, value }) {
  if (["gt", "gte", "lt", "lte"].includes(operator)) {
    return { type: operator, key, value: NUMBER.test(value) ? Number(value) : value };
  }
  const isList = operator === "in" || operator === "nin";
  const values = (isList ? value.split(",") : [value]).flatMap((one) => meanings(one.trim()));
  const [first] = values;
  if (values.length === 1 && !isList) return { type: operator, key, value: first };
  return { type: operator === "ne" || operator === "nin" ? "nin" : "in", key, value: values };
}

/**
 * Return what a value may mean: `2020` the number or the text, `"2020"` the text alone.
 *
 * @param {string} text
 * @returns {(string | number | boolean)[]}
 */
function meanings(text) {
  if (text.length > 1 && text.startsWith('"') && text.endsWith('"')) return [text.slice(1, -1)];
  if (NUMBER.test(text)) return [Number(text), text];
  if (text === "true" || text === "false") return [text === "true", text];
  return [text];
}

// Calls of the public API, with the cookie of this browser.

/** The path below which the server is reached: "" unless a proxy adds one. */
export const root = document.documentElement.dataset.root ?? "";

/** Dispatched on `window` when the server asks for a key. */
export const KEY_NEEDED = "llm-api:key-needed";

/** An answer of the server that is an error, or no answer. */
export class ApiError extends Error {
  /**
   * @param {string} message in words for people
   * @param {number} status 0 if there was no answer
   * @param {string} [code]
   * @param {string} [param] the field that is wrong
   */
  constructor(message, status, code, param) {
    super(message);
    this.name = "ApiError";
    this.status = status;
    this.code = code;
    this.param = param;
  }
}

/**
 * @typedef {object} Options
 * @property {unknown} [body] sent as JSON; a FormData is sent as it is
 * @property {Record<string, string>} [headers]
 * @property {AbortSignal} [signal]
 */

/**
 * Send a request and return the answer, whatever its body is.
 *
 * @param {string} method
 * @param {string} path such as `/v1/models`
 * @param {Options} [options]
 * @returns {Promise<Response>}
 * @throws {ApiError}
 */
export async function send(method, path, { body, headers = {}, signal } = {}) {
  const isForm = body instanceof FormData;
  /** @type {RequestInit} */
  const request = { method, headers: { ...headers }, credentials: "same-origin", ...(signal && { signal }) };
  if (body !== undefined) {
    request.body = isForm ? body : JSON.stringify(body);
    if (!isForm) request.headers = { ...headers, "content-type": "application/json" };
  }
  let response;
  try {
    response = await fetch(root + path, request);
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new ApiError("The server does not answer. Is it running?", 0);
  }
  if (!response.ok) throw await errorOf(response);
  return response;
}

/**
 * Send a request and return the JSON of the answer.
 *
 * @param {string} method
 * @param {string} path
 * @param {Options} [options]
 * @returns {Promise<any>}
 * @throws {ApiError}
 */
export async function call(method, path, options) {
  const response = await send(method, path, options);
  return response.status === 204 ? null : response.json();
}

/**
 * @param {string} path
 * @param {Record<string, string | number | undefined | null>} [query]
 * @param {AbortSignal} [signal]
 * @returns {Promise<any>}
 */
export function get(path, query = {}, signal) {
  return call("GET", path + queryString(query), signal ? { signal } : {});
}

/**
 * @param {string} path
 * @param {unknown} [body]
 * @param {Record<string, string>} [headers]
 * @returns {Promise<any>}
 */
export function post(path, body, headers = {}) {
  return call("POST", path, { body, headers });
}

/**
 * @param {Record<string, string | number | undefined | null>} query
 * @returns {string} with its question mark, or "" if every value is empty
 */
export function queryString(query) {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined && value !== null && value !== "") parameters.append(name, String(value));
  }
  const text = parameters.toString();
  return text ? `?${text}` : "";
}

/**
 * @param {Response} response
 * @returns {Promise<ApiError>}
 */
async function errorOf(response) {
  const answer = await response.json().catch(() => null);
  const error = answer?.error;
  if (response.status === 401) window.dispatchEvent(new Event(KEY_NEEDED));
  const message = error?.message ?? `The server answered ${response.status} ${response.statusText}.`;
  return new ApiError(message, response.status, error?.code, error?.param);
}

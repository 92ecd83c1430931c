// Login with an API key, which the server exchanges for a cookie that scripts cannot read.

import { ApiError, KEY_NEEDED, call, get, post } from "./api.js";
import { byId } from "./dom.js";

/**
 * @typedef {object} Session
 * @property {boolean} key_required
 * @property {boolean} signed_in
 * @property {string | null} owner
 * @property {string[]} scopes
 */

/** @type {Promise<Session> | undefined} */
let session;

/**
 * Return the session, after the user has logged in where a key is needed.
 *
 * @returns {Promise<Session>}
 */
export function signedIn() {
  session ??= load();
  return session;
}

/** @returns {Promise<Session>} */
async function load() {
  /** @type {Session} */
  const found = await get("/v1/session");
  const logout = byId("logout");
  logout.hidden = !found.key_required;
  logout.onclick = async () => {
    await call("DELETE", "/v1/session");
    location.reload();
  };
  window.addEventListener(KEY_NEEDED, () => void askForKey());
  if (found.key_required && !found.signed_in) await askForKey();
  return found;
}

/** Show the login and load the page again when it succeeds. @returns {Promise<never>} */
function askForKey() {
  const dialog = byId("login", HTMLDialogElement);
  const form = byId("login-form", HTMLFormElement);
  const key = byId("login-key", HTMLInputElement);
  const problem = byId("login-error");
  dialog.oncancel = (event) => event.preventDefault();
  form.onsubmit = async (event) => {
    event.preventDefault();
    problem.textContent = "";
    try {
      await post("/v1/session", { key: key.value });
      location.reload();
    } catch (error) {
      problem.textContent = error instanceof ApiError ? error.message : String(error);
      key.select();
    }
  };
  if (!dialog.open) dialog.showModal();
  return new Promise(() => {});
}

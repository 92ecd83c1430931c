// What all pages share: the theme and the login.

import { byId } from "./dom.js";
import { signedIn } from "./session.js";
import { attempt } from "./toast.js";

const STORED = "llm-api.theme";
const THEMES = /** @type {const} */ (["system", "light", "dark"]);
const LABELS = { system: "Colours: as the system", light: "Colours: light", dark: "Colours: dark" };

const button = byId("theme", HTMLButtonElement);

/** @returns {"system" | "light" | "dark"} */
function chosen() {
  const stored = localStorage.getItem(STORED);
  return stored === "light" || stored === "dark" ? stored : "system";
}

function showTheme() {
  const theme = chosen();
  if (theme === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  button.setAttribute("aria-label", LABELS[theme]);
  button.title = LABELS[theme];
}

button.addEventListener("click", () => {
  const next = THEMES[(THEMES.indexOf(chosen()) + 1) % THEMES.length] ?? "system";
  localStorage.setItem(STORED, next);
  showTheme();
});

showTheme();
void attempt(signedIn);

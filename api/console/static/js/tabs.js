// Tabs, of which the arrow keys choose one.

import { fill, h } from "./dom.js";

/**
 * @param {HTMLElement} list gets the tabs
 * @param {HTMLElement} panel shows what belongs to the chosen one
 * @param {{name: string, label: string}[]} tabs
 * @param {(name: string) => void} onchoose called with the chosen tab, which fills the panel
 * @returns {(name: string) => void} chooses one
 */
export function makeTabs(list, panel, tabs, onchoose) {
  list.setAttribute("role", "tablist");
  panel.setAttribute("role", "tabpanel");
  panel.tabIndex = 0;
  const buttons = tabs.map(({ name, label }) =>
    h(
      "button",
      {
        type: "button",
        role: "tab",
        class: "tab",
        id: `tab-${name}`,
        "aria-controls": panel.id,
        onclick: () => choose(name),
      },
      label,
    ),
  );
  fill(list, ...buttons);
  const choose = (/** @type {string} */ name) => {
    for (const button of buttons) {
      const isChosen = button.id === `tab-${name}`;
      button.setAttribute("aria-selected", String(isChosen));
      button.tabIndex = isChosen ? 0 : -1;
    }
    panel.setAttribute("aria-labelledby", `tab-${name}`);
    onchoose(name);
  };
  list.addEventListener("keydown", (event) => {
    const at = buttons.findIndex((button) => button.getAttribute("aria-selected") === "true");
    /** @type {Record<string, number>} */
    const targets = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: buttons.length - 1 };
    const target = targets[event.key];
    if (target === undefined) return;
    event.preventDefault();
    const index = (target + buttons.length) % buttons.length;
    choose(tabs[index]?.name ?? "");
    buttons[index]?.focus();
  });
  return choose;
}

// Buttons that open something: `<details class="menu">`, and lists of actions in these.

import { h } from "./dom.js";

const OPEN = "details.menu[open]";

// All menus of a page close by Escape, and when something else is clicked or focused.
document.addEventListener("keydown", (event) => {
  const menu = event.target instanceof Element ? event.target.closest(OPEN) : null;
  if (event.key !== "Escape" || !(menu instanceof HTMLDetailsElement)) return;
  // A dialog around the menu stays open.
  event.preventDefault();
  menu.open = false;
  menu.querySelector("summary")?.focus();
});
document.addEventListener("pointerdown", ({ target }) => closeOthers(target));
document.addEventListener("focusin", ({ target }) => {
  // A click on a label in a menu first focuses what is around the menu, if that can have the focus.
  if (!(target instanceof Element) || !target.querySelector(OPEN)) closeOthers(target);
});

/** Close the menus that an element is not in. @param {EventTarget | null} target */
function closeOthers(target) {
  for (const menu of document.querySelectorAll(OPEN)) {
    if (target instanceof Node && !menu.contains(target)) menu.removeAttribute("open");
  }
}

/**
 * Return a button that opens a list of actions.
 *
 * @param {string} label
 * @param {string} trigger what the button shows
 * @param {"button" | "icon-button"} [kind] how it looks
 * @returns {{element: HTMLElement, show: (actions: {label: string, danger?: boolean, run: () => void}[]) => void}}
 */
export function actionMenu(label, trigger, kind = "button") {
  const list = h("div", { class: "menu-list" });
  const summary = h("summary", { class: kind, "aria-label": label }, trigger);
  const element = h("details", { class: "menu" }, summary, list);
  return {
    element,
    show: (actions) => {
      list.replaceChildren(
        ...actions.map(({ label: text, danger, run }) =>
          h(
            "button",
            {
              type: "button",
              class: danger ? "menu-item danger" : "menu-item",
              onclick: () => {
                element.open = false;
                run();
              },
            },
            text,
          ),
        ),
      );
      element.hidden = actions.length === 0;
    },
  };
}

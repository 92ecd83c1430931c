// A button that opens a list of actions.

import { h } from "./dom.js";

/**
 * @param {string} label
 * @param {string} trigger what the button shows
 * @returns {{element: HTMLElement, show: (actions: {label: string, danger?: boolean, run: () => void}[]) => void}}
 */
export function actionMenu(label, trigger) {
  const list = h("div", { class: "menu-list" });
  const element = h(
    "details",
    { class: "menu" },
    h("summary", { class: "button", "aria-label": label }, trigger),
    list,
  );
  const close = () => {
    element.open = false;
  };
  element.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    close();
    element.querySelector("summary")?.focus();
  });
  element.addEventListener("focusout", (event) => {
    if (event.relatedTarget instanceof Node && !element.contains(event.relatedTarget)) close();
  });
  document.addEventListener("click", (event) => {
    if (event.target instanceof Node && !element.contains(event.target)) close();
  });
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
                close();
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

// The choices at the top of a conversation: the model, what is searched, and how the model answers.

import { byId, fill, h } from "../dom.js";
import { count, counted } from "../format.js";
import "../menu.js";
import { searchable } from "./library.js";

/** @typedef {import("../conversations.js").Conversation} Conversation */
/** @typedef {import("./library.js").Collection} Collection */
/** @typedef {import("./library.js").Library} Library */
/** @typedef {import("./library.js").Model} Model */

export class ScopeMenu {
  /**
   * @param {Library} library
   * @param {(changes: Partial<Conversation>) => void} onchange
   */
  constructor(library, onchange) {
    this.library = library;
    this.onchange = onchange;
    this.model = byId("model", HTMLSelectElement);
    this.label = byId("collections-label");
    this.choices = byId("collections-choices");
    this.system = byId("system", HTMLTextAreaElement);
    this.temperature = byId("temperature", HTMLInputElement);
    this.tools = byId("tools", HTMLInputElement);
    const menu = byId("collections-menu", HTMLDetailsElement);
    /** @type {Conversation | null} */
    this.conversation = null;
    this.model.addEventListener("change", () => this.onchange({ model: this.model.value }));
    this.system.addEventListener("change", () => this.onchange({ system: this.system.value.trim() }));
    this.tools.addEventListener("change", () => this.onchange({ tools: this.tools.checked }));
    this.temperature.addEventListener("change", () => {
      if (!this.temperature.reportValidity()) return;
      this.onchange({ temperature: this.temperature.value === "" ? null : this.temperature.valueAsNumber });
    });
    menu.addEventListener("toggle", () => {
      if (menu.open) void this.library.loadCollections().then(() => this.showCollections());
    });
  }

  /** @param {Conversation} conversation */
  show(conversation) {
    const isOther = conversation.id !== this.conversation?.id;
    this.conversation = conversation;
    this.showModels();
    this.showCollections();
    if (!isOther) return;
    this.system.value = conversation.system;
    this.temperature.value = conversation.temperature === null ? "" : String(conversation.temperature);
    this.tools.checked = conversation.tools;
  }

  showModels() {
    const chosen = this.conversation?.model ?? "";
    const { models, defaultModel } = this.library;
    const option = (/** @type {string} */ value, /** @type {string} */ label, isDisabled = false) =>
      h("option", { value, disabled: isDisabled, selected: value === chosen }, label);
    const options = [
      option("", defaultModel ? `${defaultModel.id} (default)` : "Default model"),
      ...models
        .filter((model) => model !== defaultModel || chosen === model.id)
        .map((model) => this.modelOption(model, option)),
    ];
    if (chosen !== "" && !models.some(({ id }) => id === chosen)) options.push(option(chosen, `${chosen} (not here)`));
    fill(this.model, options);
    this.model.value = chosen;
  }

  /**
   * @param {Model} model
   * @param {(value: string, label: string, isDisabled?: boolean) => HTMLOptionElement} option
   */
  modelOption({ id, state, problem }, option) {
    const notes = /** @type {Record<string, string>} */ ({
      available: "loads when asked",
      loading: "is being loaded",
      failed: "failed",
    });
    const note = problem ? "cannot be used" : notes[state];
    return option(id, note ? `${id} (${note})` : id, Boolean(problem));
  }

  showCollections() {
    const { collections, shared, documents } = this.library;
    const { collections: chosen = [], files = "" } = this.conversation ?? {};
    this.label.textContent = label(chosen, files, documents);
    const offered = [...collections.filter(({ name }) => name === files), ...shared];
    const key = JSON.stringify(offered.map((one) => [one.name, searchable(one)]));
    // The focus stays where it is: the choices are made again only if others are offered.
    if (this.choices.dataset.offered !== key) {
      this.choices.dataset.offered = key;
      fill(this.choices, this.kinds(documents), offered.length > 0 && this.boxes(offered, files));
    }
    for (const input of this.choices.querySelectorAll("input")) {
      if (input.type === "radio") input.checked = input.value === kindOf(chosen);
      else input.checked = chosen !== "all" && chosen.includes(input.value);
    }
  }

  /** @param {number} documents */
  kinds(documents) {
    const radio = (/** @type {string} */ value, /** @type {string} */ text) => {
      const onchange = () => this.onchange({ collections: value === "all" ? "all" : [] });
      return h("label", { class: "choice" }, h("input", { type: "radio", name: "scope", value, onchange }), text);
    };
    return [radio("all", `All documents (${count(documents)})`), radio("none", "No documents: just the model")];
  }

  /** @param {Collection[]} offered @param {string} files */
  boxes(offered, files) {
    const boxes = offered.map((collection) => {
      const { name } = collection;
      const onchange = (/** @type {Event} */ event) => {
        const chosen = this.conversation?.collections ?? [];
        const others = chosen === "all" ? [] : chosen.filter((other) => other !== name);
        const isChosen = /** @type {HTMLInputElement} */ (event.target).checked;
        this.onchange({ collections: isChosen ? [...others, name] : others });
      };
      return h(
        "label",
        { class: "choice" },
        h("input", { type: "checkbox", value: name, onchange }),
        h("bdi", {}, name === files ? "Files of this conversation" : name),
        h("span", { class: "muted small" }, counted(searchable(collection), "document")),
      );
    });
    return [h("p", { class: "muted small" }, "Only these collections"), ...boxes];
  }
}

/** @param {"all" | string[]} chosen @returns {string} the value of the radio button, "" if there are names */
function kindOf(chosen) {
  if (chosen === "all") return "all";
  return chosen.length === 0 ? "none" : "";
}

/** @param {"all" | string[]} chosen @param {string} files @param {number} documents */
function label(chosen, files, documents) {
  if (chosen === "all") return documents > 0 ? "All documents" : "No documents yet";
  if (chosen.length === 0) return "No documents";
  const names = chosen.map((name) => (name === files ? "Files of this chat" : name));
  return names.length <= 2 ? names.join(", ") : `${names.length} collections`;
}

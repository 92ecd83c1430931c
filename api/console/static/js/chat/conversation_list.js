// The list of conversations: open, search, rename, export, remove.

import { ApiError, call } from "../api.js";
import { confirmed } from "../dialogs.js";
import { byId, fill, h, iconButton } from "../dom.js";
import { ago, exact } from "../format.js";
import { actionMenu } from "../menu.js";
import { Panel } from "../panel.js";
import { attempt } from "../toast.js";

/** @typedef {import("../conversations.js").Conversation} Conversation */
/** @typedef {import("../conversations.js").ConversationStore} ConversationStore */

export class ConversationList {
  /**
   * @param {ConversationStore} store
   * @param {(id: string) => void} onremove
   */
  constructor(store, onremove) {
    this.store = store;
    this.onremove = onremove;
    this.current = "";
    /** The conversation whose title is being edited, or "". */
    this.renamed = "";
    this.items = byId("conversations");
    this.search = byId("conversation-search", HTMLInputElement);
    this.panel = new Panel(byId("list-panel"), byId("list-side"), byId("list-dialog", HTMLDialogElement));
    this.search.addEventListener("input", () => void this.refresh());
    byId("open-list").addEventListener("click", () => this.panel.openDialog());
    byId("close-list").addEventListener("click", () => this.panel.closeDialog());
    this.items.addEventListener("click", (event) => {
      if (event.target instanceof Element && event.target.closest("a.conversation")) this.panel.closeDialog();
    });
  }

  async refresh() {
    if (this.renamed !== "") return;
    const found = await this.store.search(this.search.value);
    fill(
      this.items,
      found.map((conversation) => this.item(conversation)),
      found.length === 0 &&
        h("li", { class: "muted small" }, this.search.value ? "Nothing found." : "No conversations yet."),
    );
  }

  /** @param {string} id */
  setCurrent(id) {
    this.current = id;
    for (const link of this.items.querySelectorAll("a.conversation")) {
      if (link.getAttribute("href") === `#${id}`) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    }
  }

  /** @param {Conversation} conversation */
  item(conversation) {
    const { id, title, updated } = conversation;
    const item = h(
      "li",
      { class: "conversation-item" },
      h(
        "a",
        { class: "conversation", href: `#${id}`, title, "aria-current": id === this.current && "true" },
        h("bdi", { class: "conversation-title" }, title),
        h("span", { class: "muted small", title: exact(updated / 1000) }, ago(updated / 1000)),
      ),
    );
    item.append(this.menu(conversation, item));
    return item;
  }

  /** @param {Conversation} conversation @param {HTMLElement} item */
  menu(conversation, item) {
    const { id, title } = conversation;
    const menu = actionMenu(`Actions for ${title}`, "⋯", "icon-button");
    menu.show([
      { label: "Rename", run: () => this.rename(conversation, item) },
      { label: "Export as Markdown", run: () => void this.export(id, "markdown") },
      { label: "Export as JSON", run: () => void this.export(id, "json") },
      { label: "Delete", danger: true, run: () => void this.remove(conversation) },
    ]);
    return menu.element;
  }

  /** @param {Conversation} conversation @param {HTMLElement} item */
  rename({ id, title }, item) {
    this.renamed = id;
    const field = h("input", { type: "text", "aria-label": "Title", value: title, maxlength: 200, required: true });
    const form = h(
      "form",
      { class: "rename" },
      field,
      iconButton("done", "Save the title", () => form.requestSubmit()),
    );
    const end = async (/** @type {string} */ changed) => {
      if (this.renamed !== id) return;
      this.renamed = "";
      if (changed !== "" && changed !== title) await this.store.rename(id, changed);
      await this.refresh();
      const link = this.items.querySelector(`a[href="#${id}"]`);
      if (link instanceof HTMLElement) link.focus();
    };
    form.onsubmit = (event) => {
      event.preventDefault();
      void end(field.value.trim());
    };
    form.onkeydown = (event) => {
      if (event.key !== "Escape") return;
      event.preventDefault(); // it would close the dialog around the list too
      void end("");
    };
    fill(item, form);
    field.select();
  }

  /** @param {string} id @param {"json" | "markdown"} format */
  async export(id, format) {
    const file = await this.store.export(id, format);
    if (file === null) return;
    const address = URL.createObjectURL(file);
    h("a", { href: address, download: file.name }).click();
    setTimeout(() => URL.revokeObjectURL(address), 60_000);
  }

  /** @param {Conversation} conversation */
  async remove({ id, title, files }) {
    const also = files ? " The files that were added in it are deleted from the server too." : "";
    const text = `“\u2068${title}\u2069” is removed from this browser, with all its answers.${also} This cannot be undone.`;
    if (!(await confirmed({ title: "Delete this conversation?", text, action: "Delete" }))) return;
    if (files && !(await attempt(() => removeCollection(files)))) return;
    await this.store.remove(id);
    await this.refresh();
    this.onremove(id);
  }
}

/** @param {string} name */
async function removeCollection(name) {
  try {
    await call("DELETE", `/v1/rag/collections/${encodeURIComponent(name)}`);
  } catch (error) {
    // No file was accepted, or somebody has deleted the collection.
    if (!(error instanceof ApiError) || error.status !== 404) throw error;
  }
}

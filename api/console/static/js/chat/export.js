// A conversation as a file for people and programs.

import { placeOf } from "../passages.js";
import { branchTo } from "./branches.js";

/** @typedef {import("../conversations.js").Conversation} Conversation */
/** @typedef {import("../conversations.js").Message} Message */
/** @typedef {import("../conversations.js").Source} Source */

/** @param {Conversation} conversation @param {Message[]} messages @returns {File} with all branches */
export function toJson(conversation, messages) {
  const sorted = [...messages].sort((a, b) => a.at - b.at);
  return file(conversation, JSON.stringify({ conversation, messages: sorted }, null, 2), "json", "application/json");
}

/** @param {Conversation} conversation @param {Message[]} messages @returns {File} with the branch that is shown */
export function toMarkdown(conversation, messages) {
  const parts = [`# ${conversation.title}`];
  for (const message of branchTo(messages, conversation.leaf)) {
    parts.push(message.role === "user" ? "## Question" : `## Answer${message.model && ` (${message.model})`}`);
    parts.push(message.text.trim());
    if (message.error) parts.push(`> ${message.error}`);
    if (message.sources.length > 0) parts.push(message.sources.map(sourceLine).join("\n"));
  }
  return file(conversation, `${parts.filter(Boolean).join("\n\n")}\n`, "md", "text/markdown");
}

/** @param {Source} source */
function sourceLine(source) {
  return `- [${source.index}] ${[source.file, placeOf(source)].filter(Boolean).join(", ")}`;
}

/** @param {Conversation} conversation @param {string} text @param {string} suffix @param {string} type */
function file({ title }, text, suffix, type) {
  const name = title
    .replace(/[^\p{L}\p{N}]+/gu, "-")
    .replace(/^-+|-+$/g, "")
    .slice(0, 60);
  return new File([text], `${name || "conversation"}.${suffix}`, { type });
}

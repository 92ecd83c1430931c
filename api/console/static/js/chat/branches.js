// The tree of a conversation's messages: which ones are shown, and which other versions there are.

/** @typedef {import("../conversations.js").Message} Message */

/**
 * Return the messages from the first one to `leaf`.
 *
 * @param {Message[]} messages
 * @param {string} leaf
 * @returns {Message[]}
 */
export function branchTo(messages, leaf) {
  const byId = new Map(messages.map((message) => [message.id, message]));
  /** @type {Message[]} */
  const branch = [];
  for (let message = byId.get(leaf); message !== undefined; message = byId.get(message.parent)) {
    branch.unshift(message);
    byId.delete(message.id); // a circle, which no window writes, would never end
  }
  return branch;
}

/**
 * Return the versions of a message, itself included, the oldest first.
 *
 * @param {Message[]} messages
 * @param {Message} message
 * @returns {Message[]}
 */
export function versions(messages, message) {
  return messages.filter(({ parent }) => parent === message.parent).sort((a, b) => a.at - b.at);
}

/**
 * Return the end of the newest branch that begins with a message.
 *
 * @param {Message[]} messages
 * @param {string} id
 * @returns {string}
 */
export function newestLeaf(messages, id) {
  const next = messages.filter(({ parent }) => parent === id).sort((a, b) => b.at - a.at)[0];
  return next === undefined || next.id === id ? id : newestLeaf(messages, next.id);
}

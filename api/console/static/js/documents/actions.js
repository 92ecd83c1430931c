// What the buttons of the documents page do.

import { call, get, post } from "../api.js";
import { asked, confirmed } from "../dialogs.js";
import { count, counted, quoted } from "../format.js";
import { toast } from "../toast.js";

/** @typedef {import("../wire.js").Document} Document */
/** @typedef {import("../wire.js").Collection} Collection */

/** @param {string} id @returns {string} */
export function documentAddress(id) {
  return `/v1/rag/documents/${encodeURIComponent(id)}`;
}

/** @param {Document} document @returns {Promise<boolean>} whether it was deleted */
export async function deleteDocument({ id, filename, source }) {
  const text =
    source === "watch"
      ? "Search no longer finds it. Its file stays in the watched folder, and is indexed again when it changes."
      : "Search no longer finds it, and its original is removed. This cannot be undone.";
  if (!(await confirmed({ title: `Delete ${quoted(filename)}?`, text, action: "Delete" }))) return false;
  await call("DELETE", documentAddress(id));
  toast(`${quoted(filename)} has been deleted.`);
  return true;
}

/** @returns {Promise<string | null>} the name of the new collection */
export async function createCollection() {
  const name = await asked({
    title: "New collection",
    label: "Name",
    action: "Create",
    help: "A collection is a set of documents that can be searched by itself. Its documents can come from anywhere.",
  });
  if (!name) return null;
  return (await post("/v1/rag/collections", { name })).name;
}

/** @param {string} collection @returns {string} */
function collectionAddress(collection) {
  return `/v1/rag/collections/${encodeURIComponent(collection)}`;
}

/** @param {string} collection @returns {Promise<string | null>} its new name */
export async function renameCollection(collection) {
  const name = await asked({ title: "Rename the collection", label: "Name", action: "Rename", value: collection });
  if (!name || name === collection) return null;
  return (await call("PATCH", collectionAddress(collection), { body: { name } })).name;
}

/** @param {string} collection @param {number} documents @returns {Promise<boolean>} whether it was deleted */
export async function deleteCollection(collection, documents) {
  const isSure = await confirmed({
    title: `Delete the collection ${quoted(collection)}?`,
    text: `Its ${counted(documents, "document")} ${documents === 1 ? "is" : "are"} deleted with it. This cannot be undone.`,
    action: "Delete",
  });
  if (!isSure) return false;
  const answer = await call("DELETE", collectionAddress(collection));
  toast(`${quoted(collection)} has been deleted, with ${counted(answer.documents, "document")}.`);
  return true;
}

/** @param {string} collection */
export async function reindexCollection(collection) {
  const isSure = await confirmed({
    title: `Index ${quoted(collection)} again?`,
    text: "All its documents are read and embedded again. Search finds the present version of each until the new one is complete.",
    action: "Index again",
    danger: false,
  });
  if (!isSure) return;
  const answer = await post("/v1/rag/documents/reindex", { collection });
  toast(`${counted(answer.count ?? 0, "document")} will be indexed again.`);
}

/** @param {string} collection "" for all */
export async function retryFailed(collection) {
  const answer = await post("/v1/rag/documents/retry", collection ? { collection } : {});
  toast(`${counted(answer.count, "document")} queued again.`);
}

/** @param {string} collection "" for all */
export async function cancelUnfinished(collection) {
  const isSure = await confirmed({
    title: "Cancel all unfinished documents?",
    text: "The work on them stops. What is already searchable stays so, and each can be queued again.",
    action: "Cancel them",
  });
  if (!isSure) return;
  const answer = await post("/v1/rag/documents/cancel", collection ? { collection } : {});
  toast(`${count(answer.count)} cancelled.`);
}

/** @returns {Promise<Collection[]>} */
export async function loadCollections() {
  return (await get("/v1/rag/collections")).data;
}

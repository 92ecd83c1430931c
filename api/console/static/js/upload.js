// Uploads files one after the other, and finds the files of dropped folders.

import { ApiError, KEY_NEEDED, root } from "./api.js";

/**
 * @typedef {object} Upload a file that is being sent, or has been
 * @property {File} file
 * @property {string} name with its folders, such as `manuals/pump.pdf`
 * @property {number} sent share of its bytes that the server has, 0 to 1
 * @property {any} document what the server answered; null until then
 * @property {string} error why it was refused, or ""
 */

/**
 * Send files, in their order.
 *
 * @param {{file: File, name: string}[]} files
 * @param {string} collection
 * @param {(upload: Upload) => void} onchange called at each step of each file, first for all with nothing sent
 * @returns {Promise<Upload[]>}
 */
export async function uploadFiles(files, collection, onchange) {
  const uploads = files.map(({ file, name }) => ({ file, name, sent: 0, document: null, error: "" }));
  uploads.forEach(onchange);
  for (const upload of uploads) {
    await sendFile(upload, collection, () => onchange(upload));
    onchange(upload);
  }
  return uploads;
}

/**
 * @param {Upload} upload
 * @param {string} collection
 * @param {() => void} onchange
 * @returns {Promise<void>}
 */
function sendFile(upload, collection, onchange) {
  const form = new FormData();
  form.append("collection", collection);
  form.append("files", upload.file, upload.name);
  // fetch cannot tell how much has been sent.
  const request = new XMLHttpRequest();
  request.open("POST", `${root}/v1/rag/documents/upload`);
  request.responseType = "json";
  return new Promise((resolve) => {
    request.upload.onprogress = (event) => {
      if (event.lengthComputable) upload.sent = event.loaded / event.total;
      onchange();
    };
    request.onload = () => {
      upload.sent = 1;
      if (request.status === 401) window.dispatchEvent(new Event(KEY_NEEDED));
      if (request.status < 300) upload.document = request.response?.data?.[0] ?? null;
      else upload.error = request.response?.error?.message ?? `The server answered ${request.status}.`;
      resolve();
    };
    request.onerror = () => {
      upload.error = new ApiError("The server closed the connection or does not answer.", 0).message;
      resolve();
    };
    request.send(form);
  });
}

/**
 * Return the files of a drop, those within folders too.
 *
 * @param {DataTransfer} transfer
 * @returns {Promise<{file: File, name: string}[]>}
 */
export async function droppedFiles(transfer) {
  // The entries must be taken before the first await: afterwards the browser has emptied the list.
  const entries = [...transfer.items].flatMap((item) => item.webkitGetAsEntry() ?? []);
  /** @type {{file: File, name: string}[]} */
  const found = [];
  for (const entry of entries) await collect(entry, "", found);
  return found;
}

/**
 * @param {FileSystemEntry} entry
 * @param {string} folder
 * @param {{file: File, name: string}[]} found
 */
async function collect(entry, folder, found) {
  if (entry.isFile) {
    const file = await new Promise((resolve, reject) =>
      /** @type {FileSystemFileEntry} */ (entry).file(resolve, reject),
    );
    found.push({ file, name: folder + entry.name });
    return;
  }
  const reader = /** @type {FileSystemDirectoryEntry} */ (entry).createReader();
  for (;;) {
    /** @type {FileSystemEntry[]} */
    const batch = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (batch.length === 0) return;
    for (const child of batch) await collect(child, `${folder}${entry.name}/`, found);
  }
}

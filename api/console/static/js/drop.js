// Files that are dropped anywhere on the page.

import { droppedFiles } from "./upload.js";

/**
 * Take files and folders that are dropped on the page, and show while they are dragged that it does.
 *
 * @param {(files: {file: File, name: string}[]) => void} take
 */
export function acceptDrops(take) {
  const { body } = document;
  const hasFiles = (/** @type {DragEvent} */ event) => event.dataTransfer?.types.includes("Files") ?? false;
  // Each element that the pointer crosses has its own enter and leave, so they are counted.
  let depth = 0;
  const show = (/** @type {number} */ value) => {
    depth = Math.max(0, value);
    body.classList.toggle("drop-target", depth > 0);
  };
  body.addEventListener("dragenter", (event) => hasFiles(event) && show(depth + 1));
  body.addEventListener("dragleave", (event) => hasFiles(event) && show(depth - 1));
  body.addEventListener("dragover", (event) => {
    if (hasFiles(event)) event.preventDefault();
  });
  body.addEventListener("drop", (event) => {
    if (!hasFiles(event) || event.dataTransfer === null) return;
    event.preventDefault();
    show(0);
    void droppedFiles(event.dataTransfer).then(take);
  });
}

/**
 * Take the files that the user chooses in a file input.
 *
 * @param {HTMLInputElement} input
 * @param {(files: {file: File, name: string}[]) => void} take
 */
export function acceptChosen(input, take) {
  input.addEventListener("change", () => {
    take([...(input.files ?? [])].map((file) => ({ file, name: file.webkitRelativePath || file.name })));
    input.value = "";
  });
}

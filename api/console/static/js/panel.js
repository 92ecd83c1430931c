// A part of a page that is beside the rest where there is room, and in a dialog over it where there is not.

export class Panel {
  /**
   * @param {HTMLElement} content which the side has at first
   * @param {HTMLElement} side
   * @param {HTMLDialogElement} dialog
   */
  constructor(content, side, dialog) {
    this.content = content;
    this.side = side;
    this.dialog = dialog;
    /** @type {() => void} */
    this.onclose = () => undefined;
    dialog.addEventListener("close", () => {
      if (side.contains(content)) return;
      side.append(content);
      this.onclose();
    });
    // A click beside the panel closes it.
    dialog.addEventListener("click", (event) => {
      if (event.target === dialog) dialog.close();
    });
  }

  /** Whether it covers the page. */
  get isDialog() {
    return this.dialog.open;
  }

  openDialog() {
    if (this.dialog.open) return;
    this.dialog.append(this.content);
    this.dialog.showModal();
  }

  closeDialog() {
    if (this.dialog.open) this.dialog.close();
  }

  /** Move the content beside the page, without closing it. */
  moveToSide() {
    this.side.append(this.content);
    this.closeDialog();
  }
}

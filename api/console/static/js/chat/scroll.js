// Keeps the newest text in view while the reader is at the end, and leaves the reader alone elsewhere.

/** How far from the end, in pixels, still counts as at the end. */
const SLACK = 60;

export class Scroll {
  /**
   * @param {HTMLElement} frame which scrolls
   * @param {HTMLElement} content which grows
   * @param {HTMLElement} button that leads to the end
   */
  constructor(frame, content, button) {
    this.frame = frame;
    this.button = button;
    this.isAtEnd = true;
    this.position = 0;
    frame.addEventListener("scroll", () => this.look());
    button.addEventListener("click", () => this.toEnd());
    const observer = new ResizeObserver(() => (this.isAtEnd ? this.toEnd() : this.look()));
    observer.observe(content);
    observer.observe(frame);
  }

  look() {
    const { scrollHeight, scrollTop, clientHeight } = this.frame;
    // Text that has come since the frame was scrolled to its end does not count: only the reader leaves the end.
    const wentUp = scrollTop < this.position;
    this.position = scrollTop;
    this.isAtEnd = scrollHeight - scrollTop - clientHeight < SLACK || (this.isAtEnd && !wentUp);
    this.button.hidden = this.isAtEnd;
  }

  toEnd() {
    this.frame.scrollTop = this.frame.scrollHeight;
    this.position = this.frame.scrollTop;
    this.isAtEnd = true;
    this.button.hidden = true;
  }
}

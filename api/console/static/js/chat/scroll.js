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
    frame.addEventListener("scroll", () => this.look());
    button.addEventListener("click", () => this.toEnd());
    const observer = new ResizeObserver(() => (this.isAtEnd ? this.toEnd() : this.look()));
    observer.observe(content);
    observer.observe(frame);
  }

  look() {
    this.isAtEnd = this.frame.scrollHeight - this.frame.scrollTop - this.frame.clientHeight < SLACK;
    this.button.hidden = this.isAtEnd;
  }

  toEnd() {
    this.frame.scrollTop = this.frame.scrollHeight;
    this.look();
  }
}

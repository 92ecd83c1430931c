// A list of any length, of which only the rows that can be seen are in the page. All rows have the same height.

/** Rows beyond the edges that are kept ready. */
const OVERSCAN = 12;

/**
 * @template Item
 * @typedef {object} Row
 * @property {HTMLElement} element has one focusable element or more; the arrow keys move to the first
 * @property {(item: Item) => void} update called when the item is another object than before
 */

/**
 * @template Item
 * @typedef {object} Source
 * @property {() => number} count of all rows, loaded or not
 * @property {(index: number) => Item | undefined} itemAt undefined if it is not loaded yet
 * @property {(item: Item) => string} keyOf
 * @property {(item: Item) => Row<Item>} makeRow
 * @property {(last: number) => void} onseen called with the index of the last row that can be seen
 */

/**
 * @template Item
 * @typedef {{row: Row<Item> | null, element: HTMLElement, item: Item | undefined, index: number, top: number}} Shown
 */

/** @template Item */
export class VirtualList {
  /** @type {Map<string, Shown<Item>>} */
  #shown = new Map();
  /** 0 until the list has a size. */
  #rowHeight = 0;
  #length = -1;
  #isScheduled = false;

  /**
   * @param {HTMLElement} scroller has the role `table`, scrolls, and says by `--row-height` how high a row is
   * @param {HTMLElement} space in the scroller; becomes as high as all rows together
   * @param {Source<Item>} source
   */
  constructor(scroller, space, source) {
    this.scroller = scroller;
    this.space = space;
    this.source = source;
    scroller.addEventListener("scroll", () => this.refresh(), { passive: true });
    scroller.addEventListener("keydown", (event) => this.#onkey(event));
    new ResizeObserver(() => {
      this.#rowHeight = parseFloat(getComputedStyle(scroller).getPropertyValue("--row-height"));
      this.#length = -1;
      this.refresh();
    }).observe(scroller);
  }

  /** Show what the source has now, at the next frame. */
  refresh() {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    requestAnimationFrame(() => {
      this.#isScheduled = false;
      this.#render();
    });
  }

  /**
   * Keep the rows that are seen in their place after some were added before them.
   *
   * @param {number} added
   */
  addedAbove(added) {
    for (const shown of this.#shown.values()) shown.index += added;
    if (this.scroller.scrollTop > 0) this.scroller.scrollTop += added * this.#rowHeight;
    this.refresh();
  }

  #render() {
    const { scroller, source } = this;
    const count = source.count();
    if (this.#rowHeight === 0) return;
    const top = scroller.scrollTop - this.space.offsetTop;
    const height = scroller.clientHeight;
    this.#setLength(count);
    const first = Math.max(0, Math.floor(top / this.#rowHeight) - OVERSCAN);
    const seen = Math.max(0, Math.ceil((top + height) / this.#rowHeight));
    const last = Math.min(count, seen + OVERSCAN);

    /** @type {Map<string, Shown<Item>>} */
    const wanted = new Map();
    const focused = this.#focusedRow();
    if (focused !== null && focused[1].index < first) wanted.set(...focused);
    for (let index = first; index < last; index += 1) {
      const [key, shown] = this.#rowAt(index);
      wanted.set(key, shown);
    }
    if (focused !== null && focused[1].index >= last && focused[1].index < count) wanted.set(...focused);
    this.#place(wanted);
    source.onseen(Math.min(count, seen));
  }

  /** @param {number} count of all rows */
  #setLength(count) {
    if (count === this.#length) return;
    this.#length = count;
    this.scroller.setAttribute("aria-rowcount", String(count + 1));
    this.space.style.height = `${count * this.#rowHeight}px`;
  }

  /**
   * @param {number} index
   * @returns {[string, Shown<Item>]}
   */
  #rowAt(index) {
    const item = this.source.itemAt(index);
    const key = item === undefined ? `#${index}` : this.source.keyOf(item);
    let shown = this.#shown.get(key);
    if (shown === undefined) {
      const row = item === undefined ? null : this.source.makeRow(item);
      shown = { row, element: row?.element ?? placeholder(), item, index: -1, top: -1 };
    } else if (item !== undefined && shown.item !== item) {
      shown.row?.update(item);
      shown.item = item;
    }
    const top = index * this.#rowHeight;
    if (shown.index !== index || shown.top !== top) {
      shown.element.setAttribute("aria-rowindex", String(index + 2));
      shown.element.style.transform = `translateY(${top}px)`;
      Object.assign(shown, { index, top });
    }
    return [key, shown];
  }

  /** @param {Map<string, Shown<Item>>} wanted in the order of the rows */
  #place(wanted) {
    for (const [key, { element }] of this.#shown) if (!wanted.has(key)) element.remove();
    let next = this.space.firstElementChild;
    for (const { element } of wanted.values()) {
      if (element === next) next = next.nextElementSibling;
      else this.space.insertBefore(element, next);
    }
    this.#shown = wanted;
  }

  /** @returns {[string, Shown<Item>] | null} */
  #focusedRow() {
    const active = document.activeElement;
    if (active === null || !this.space.contains(active)) return null;
    for (const entry of this.#shown) if (entry[1].element.contains(active)) return entry;
    return null;
  }

  /** @param {KeyboardEvent} event */
  #onkey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target instanceof HTMLInputElement || event.target instanceof HTMLSelectElement) return;
    const count = this.source.count();
    const page = Math.max(1, Math.floor(this.scroller.clientHeight / this.#rowHeight) - 1);
    const at = this.#focusedRow()?.[1].index ?? Math.ceil(this.scroller.scrollTop / this.#rowHeight) - 1;
    /** @type {Record<string, number>} */
    const targets = { ArrowDown: at + 1, ArrowUp: at - 1, PageDown: at + page, PageUp: at - page, Home: 0, End: count };
    const target = targets[event.key];
    if (target === undefined || count === 0) return;
    event.preventDefault();
    this.focusRow(Math.min(Math.max(target, 0), count - 1));
  }

  /** @param {number} index */
  focusRow(index) {
    const { scroller } = this;
    const top = index * this.#rowHeight;
    // The head, which stays in its place, covers as much as it takes above the first row.
    if (top < scroller.scrollTop) scroller.scrollTop = top;
    const bottom = top + this.#rowHeight + this.space.offsetTop - scroller.clientHeight;
    if (bottom > scroller.scrollTop) scroller.scrollTop = bottom;
    this.#render();
    const shown = [...this.#shown.values()].find((one) => one.index === index);
    /** @type {HTMLElement | null | undefined} */ (shown?.element.querySelector("a, button"))?.focus({
      preventScroll: true,
    });
  }
}

/** @returns {HTMLElement} */
function placeholder() {
  const element = document.createElement("div");
  element.className = "virtual-row loading";
  element.setAttribute("role", "row");
  const cell = document.createElement("div");
  cell.setAttribute("role", "cell");
  cell.textContent = "Loading…";
  element.append(cell);
  return element;
}

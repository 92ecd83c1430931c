// Numbers, sizes and times as people read them.

import { h } from "./dom.js";

const UNITS = ["bytes", "kB", "MB", "GB", "TB"];
const number = new Intl.NumberFormat("en");
const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto" });

/** @param {number} value @returns {string} such as `12,345` */
export function count(value) {
  return number.format(value);
}

/** @param {number} value @param {string} one @param {string} [many] @returns {string} such as `3 chunks` */
export function counted(value, one, many = `${one}s`) {
  return `${count(value)} ${value === 1 ? one : many}`;
}

/** @param {number} value @returns {string} such as `1.4 MB` */
export function bytes(value) {
  let size = value;
  let unit = 0;
  while (size >= 1000 && unit < UNITS.length - 1) {
    size /= 1000;
    unit += 1;
  }
  return `${unit === 0 || size >= 100 ? Math.round(size) : size.toFixed(1)} ${UNITS[unit]}`;
}

/** @param {number} seconds @returns {string} such as `3 min 20 s` */
export function duration(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  if (whole < 86400) return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
  return `${Math.floor(whole / 86400)} d ${Math.floor((whole % 86400) / 3600)} h`;
}

/**
 * Return a name as a part of a sentence, whose direction it must not change.
 *
 * @param {string} name
 * @returns {string} between marks that isolate it, without such marks of its own
 */
export function quoted(name) {
  return `\u2068${name.replace(/[\u202a-\u202e\u2066-\u2069]/g, "")}\u2069`;
}

/** @param {number} unix seconds @returns {string} such as `5 minutes ago` */
export function ago(unix) {
  const past = unix - Date.now() / 1000;
  for (const [unit, size] of /** @type {[Intl.RelativeTimeFormatUnit, number][]} */ ([
    ["day", 86400],
    ["hour", 3600],
    ["minute", 60],
  ])) {
    if (Math.abs(past) >= size) return relative.format(Math.trunc(past / size), unit);
  }
  return "just now";
}

/** @param {number} unix seconds @returns {string} date and time of this browser */
export function exact(unix) {
  return new Date(unix * 1000).toLocaleString();
}

/** @param {number} unix seconds @returns {HTMLTimeElement} relative, with the exact time as its tooltip */
export function time(unix) {
  return h("time", { datetime: new Date(unix * 1000).toISOString(), title: exact(unix), "data-unix": unix }, ago(unix));
}

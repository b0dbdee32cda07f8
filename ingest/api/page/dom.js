// Elements and text formats.

export const $ = (id) => document.getElementById(id);

/** An element with properties, including `dataset`, and children. */
export function element(name, { dataset, attributes, ...properties } = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  Object.assign(made.dataset, dataset);
  for (const [key, value] of Object.entries(attributes ?? {})) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

/** An SVG element with attributes and children. */
export function svg(name, attributes = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

const whole = new Intl.NumberFormat("en");
const bytes = ["byte", "kilobyte", "megabyte", "gigabyte"].map(
  (unit) => new Intl.NumberFormat("en", { style: "unit", unit, maximumFractionDigits: 1 }),
);

export const count = (n) => whole.format(n);
export const objects = (n, label) => `${count(n)} × ${label}`;
export const plural = (n, one, more = `${one}s`) => `${count(n)} ${n === 1 ? one : more}`;

export function size(n) {
  const step = n < 1000 ? 0 : Math.min(3, Math.floor(Math.log10(n) / 3));
  return bytes[step].format(n / 1000 ** step);
}

/** Seconds as 0:04.2 or 1:02:03. */
export function clock(seconds, digits = 1) {
  const hours = Math.floor(seconds / 3600);
  const minutes = Math.floor(seconds / 60) % 60;
  const rest = (seconds % 60).toFixed(hours ? 0 : digits).padStart(hours || !digits ? 2 : 3 + digits, "0");
  return hours ? `${hours}:${String(minutes).padStart(2, "0")}:${rest}` : `${minutes}:${rest}`;
}

const COLORS = 8;
const colors = new Map();

/** The colour of a class. The first classes on the page each get their own. */
export function color(label) {
  if (!colors.has(label)) colors.set(label, `--c${colors.size % COLORS}`);
  return colors.get(label);
}

export function paint(node, label) {
  node.style.setProperty("--color", `var(${color(label)})`);
  return node;
}

const unannounced = [];

/** Announces a text to screen readers. Simultaneous texts are joined: a later one would interrupt the first. */
export function announce(text) {
  if (unannounced.push(text) > 1) return;
  setTimeout(() => ($("live").textContent = unannounced.splice(0).join(". ")), 150);
}

/** Shows an error until the user dismisses it, or the returned function is called. */
export function showError(text) {
  const shown = $("notice").firstElementChild;
  shown.textContent = text;
  $("notice").hidden = false;
  return () => {
    if (shown.textContent === text) $("notice").hidden = true;
  };
}
$("notice").querySelector("button").addEventListener("click", () => ($("notice").hidden = true));

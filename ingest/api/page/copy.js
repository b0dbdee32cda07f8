// Links to copy.

import { announce, element, showError } from "./dom.js";

/** Copies a text. Browsers offer their clipboard only to pages on this machine or over HTTPS. */
async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = element("textarea", { value: text, className: "unseen" });
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    if (!done) return showError(`This browser cannot copy: ${text}`);
  }
  announce("Copied");
  return undefined;
}

/** Makes a button copy a text, and say so for a moment. */
export function copies(button, text) {
  const label = button.textContent;
  button.addEventListener("click", async () => {
    await copy(text());
    button.textContent = "Copied";
    setTimeout(() => (button.textContent = label), 1500);
  });
  return button;
}

/** A link with a button that copies it. */
export function row(name, path) {
  const url = new URL(path, location.origin).href;
  const button = element("button", { type: "button", className: "quiet", textContent: "Copy", ariaLabel: `Copy the link: ${name}` });
  const link = element("a", { href: url, textContent: url });
  return element("li", {}, element("span", { textContent: name }), link, copies(button, () => url));
}

// How the analyses of one video by several models differ.

import { $, count, element, showError } from "./dom.js";
import { requestJson } from "./api.js";

/** The analyses of the open video, and which of them it is. */
let shown = null;

export function clear() {
  shown = null;
  $("compare-card").hidden = true;
  $("compared").replaceChildren();
  $("compare-with").replaceChildren();
}

/** Offers a finished video's other analyses, if it has any. */
export async function load(id, signal) {
  const { analyses } = await requestJson(`/videos/${id}/analyses`, { signal });
  if (signal.aborted) return;
  const own = analyses.find((analysis) => analysis.id === id);
  const others = analyses.filter(({ id: other, state }) => other !== id && ["done", "incomplete"].includes(state));
  if (!own || !others.length) return;
  shown = { id, own, signal };
  $("compare-with").replaceChildren(...others.map(({ model }) => element("option", { value: model, textContent: model })));
  $("compare-card").hidden = false;
  await compare();
}

async function compare() {
  const { id, own, signal } = shown;
  const other = $("compare-with").value;
  const { analyses, classes } = await requestJson(`/videos/${id}/compare?models=${own.model},${other}`, { signal });
  if (signal.aborted || other !== $("compare-with").value) return;
  const rows = classes.map(({ label, objects: [first, second], frames }) => {
    const difference = `${second < first ? "−" : "+"}${count(Math.abs(second - first))}`;
    const cells = [count(first), count(second), difference, count(frames)].map((textContent) => element("td", { textContent }));
    return element("tr", {}, element("th", { scope: "row", textContent: label }), ...cells);
  });
  $("compare-first").textContent = own.model;
  $("compare-second").textContent = other;
  $("compared").replaceChildren(...rows);
  const [first, second] = analyses.map(({ frames, average_processing_ms: ms }) => `${count(frames)} frames, ${ms.toFixed(1)}\u00a0ms each`);
  $("compare-speed").textContent = `${own.model}: ${first}. ${other}: ${second}.`;
}

export function start() {
  $("compare-with").addEventListener("change", () => compare().catch((problem) => showError(problem.message)));
}

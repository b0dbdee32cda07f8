// Asking again what the stored results of a finished video come to, with other lines, zones, threshold or tracker.

import { $, announce, count, element, objects } from "./dom.js";
import { requestJson } from "./api.js";
import { Board } from "./board.js";
import { charts } from "./charts.js";
import * as places from "./places.js";
import * as uploads from "./uploads.js";

let board = null;
/** The open video, its frames and the ways of its objects. */
let shown = null;
let isAsking = false;

/** Offers the frames of a finished video to draw on. */
export function show(video, stills, { records }, signal) {
  if (!stills.length) return;
  shown = { id: video.id, stills, records, signal };
  $("ask-frame").max = stills.length - 1;
  $("ask-frame").value = Math.floor(stills.length / 2);
  $("ask-card").hidden = false;
  board.fill(video.lines, video.zones);
  showFrame();
}

function showFrame() {
  const still = shown.stills[$("ask-frame").valueAsNumber];
  $("ask-frame").setAttribute("aria-valuetext", `frame ${count(still.frame)}`);
  board.show(still, places.ways(shown.records, still));
}

export function clear() {
  shown = null;
  $("ask-card").hidden = true;
  $("ask-form").reset();
  $("answer").replaceChildren();
  complain("");
}

function complain(reason) {
  $("ask-problem").textContent = reason;
  $("ask-problem").hidden = !reason;
}

/** What the drawing and the fields ask. */
function question() {
  const asked = { lines: board.texts("line"), zones: board.texts("zone") };
  if ($("ask-threshold").value) asked.threshold = $("ask-threshold").valueAsNumber;
  if ($("ask-tracker").value) asked.tracker = $("ask-tracker").value;
  return asked;
}

async function ask(event) {
  event.preventDefault();
  if (isAsking) return;
  const { id, signal } = shown;
  const asked = question();
  board.accept();
  complain("");
  isAsking = true;
  try {
    const body = JSON.stringify(asked);
    const answer = await requestJson(`/videos/${id}/analyses`, { method: "POST", headers: { "content-type": "application/json" }, body, signal });
    if (!signal.aborted) report(answer, asked);
  } catch (problem) {
    if (!signal.aborted && !board.refuse(problem.message)) complain(problem.message);
  } finally {
    isAsking = false;
  }
}

function report(answer, { lines, zones }) {
  const different = Object.entries(answer.tracks).sort(([a, n], [b, m]) => m - n || a.localeCompare(b));
  const found = different.map(([label, n]) => objects(n, label)).join(", ") || "none";
  const missing = answer.missing_frames
    ? [element("p", { className: "problem", textContent: `The results of ${count(answer.missing_frames)} frames are not stored any more: every number is what the other frames come to.` })]
    : [];
  const notices = (answer.notices ?? []).map((notice) => element("p", { className: "problem", textContent: notice }));
  $("answer").replaceChildren(
    ...missing,
    ...notices,
    element("p", { id: "answer-tracks", textContent: `Different objects: ${found}` }),
    ...places.tables(answer, lines.map(places.parse), zones.map(places.parse)),
    element("div", { className: "trends" }, ...charts(answer.timeline)),
  );
  announce(`Analysed again. Different objects: ${found}`);
}

export function start() {
  board = new Board($("board"), $("shapes"), "board-help");
  $("draw-line").addEventListener("click", () => board.begin("line"));
  $("draw-zone").addEventListener("click", () => board.begin("zone"));
  $("ask-frame").addEventListener("input", showFrame);
  $("ask-form").addEventListener("submit", ask);
  $("use-places").addEventListener("click", () => {
    uploads.usePlaces(board.texts("line"), board.texts("zone"));
    announce("The next upload has these lines and zones");
  });
}

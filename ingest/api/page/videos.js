// The list of videos.

import { $, showError, element, announce, plural } from "./dom.js";
import { requestJson, pause } from "./api.js";

const PAUSE_WHILE_BUSY = 1500;
const PAUSE_WHILE_IDLE = 15000;
const PAGE = 20;

export const hasEnded = (video) => ["done", "incomplete", "failed", "cancelled"].includes(video.state);

/** The fraction of a video that is counted, 0 to 1; null if its length is unknown. */
export function part({ frames, state }) {
  if (hasEnded({ state })) return 1;
  return frames.total ? Math.min(1, (frames.counted + frames.failed) / frames.total) : null;
}

const rows = new Map();
let limit = PAGE;
let selected = null;
let waiting = new AbortController();

function row(video) {
  const known = rows.get(video.id);
  if (known) return known;
  const made = {
    name: element("span", { className: "name" }),
    state: element("span", { className: "state" }),
    bar: element("progress", { ariaLabel: `Progress of ${video.name}` }),
    text: element("span", { className: "faint" }),
    problem: element("span", { className: "problem" }),
  };
  made.link = element("a", { href: `#${video.id}` }, made.name, made.state, made.bar, made.text, made.problem);
  made.item = element("li", {}, made.link);
  rows.set(video.id, made);
  return made;
}

/** Shows a video in the list. */
export function show(video) {
  const shown = row(video);
  const { name, state, bar, text, problem, link } = shown;
  if (shown.last && shown.last !== video.state && hasEnded(video)) {
    announce(`${video.name}: ${video.state}, ${plural(video.frames.counted, "frame")} counted`);
  }
  shown.last = video.state;
  name.textContent = video.name;
  state.textContent = state.dataset.state = video.state;
  bar.hidden = hasEnded(video);
  const done = part(video);
  if (done === null) bar.removeAttribute("value");
  else bar.value = done;
  const objects = Object.values(video.classes).reduce((sum, n) => sum + n, 0);
  text.textContent = `${plural(video.frames.counted, "frame")}, ${plural(objects, "object")}`;
  problem.textContent = video.summary?.problem ?? "";
  problem.hidden = !problem.textContent;
  mark(link, video.id);
}

function mark(link, id) {
  if (id === selected) link.setAttribute("aria-current", "true");
  else link.removeAttribute("aria-current");
}

export function select(id) {
  selected = id;
  for (const [video, { link }] of rows) mark(link, video);
}

/** Removes a video from the list. */
export function remove(id) {
  rows.get(id)?.item.remove();
  rows.delete(id);
  refresh();
}

/** Reloads the list at once. */
export function refresh() {
  waiting.abort();
}

async function load() {
  const { videos, next } = await requestJson(`/videos?limit=${limit}`);
  videos.forEach(show);
  const items = videos.map((video) => rows.get(video.id).item);
  // Replacing the items loses the focus.
  if (items.some((item, n) => $("videos").children[n] !== item) || items.length !== $("videos").children.length) {
    const focused = document.activeElement;
    $("videos").replaceChildren(...items);
    if (focused?.isConnected) focused.focus();
  }
  $("no-videos").hidden = videos.length > 0;
  $("more").hidden = next === null || limit >= 500;
  return videos;
}

export async function start(whenListed) {
  $("more").addEventListener("click", () => {
    limit = Math.min(500, limit + 4 * PAGE);
    refresh();
  });
  document.addEventListener("visibilitychange", refresh);
  let dismiss = null;
  for (;;) {
    let videos = [];
    waiting = new AbortController();
    try {
      videos = await load();
      whenListed(videos);
      dismiss?.();
      dismiss = null;
    } catch (problem) {
      dismiss ??= showError(`${problem.message} The list of videos may be outdated.`);
    }
    const busy = dismiss || videos.some((video) => !hasEnded(video));
    await pause(busy && !document.hidden ? PAUSE_WHILE_BUSY : PAUSE_WHILE_IDLE, waiting.signal);
  }
}

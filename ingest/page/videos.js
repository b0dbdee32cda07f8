// The list of videos.

import { $, complain, element, say, some } from "./dom.js";
import { askJson, pause } from "./api.js";

const SOON = 1500;
const LATER = 15000;
const PAGE = 20;

export const isOver = (video) => ["done", "incomplete", "failed", "cancelled"].includes(video.state);

/** How much of a video is counted, 0 to 1, if its length is known. */
export function part({ frames, state }) {
  if (isOver({ state })) return 1;
  return frames.total ? Math.min(1, (frames.counted + frames.failed) / frames.total) : null;
}

const rows = new Map();
let limit = PAGE;
let selected = null;
let look = new AbortController();

function row(video) {
  const known = rows.get(video.id);
  if (known) return known;
  const made = {
    name: element("span", { className: "name" }),
    state: element("span", { className: "state" }),
    bar: element("progress", { ariaLabel: `Progress of ${video.name}` }),
    text: element("span", { className: "faint" }),
  };
  made.link = element("a", { href: `#${video.id}` }, made.name, made.state, made.bar, made.text);
  made.item = element("li", {}, made.link);
  rows.set(video.id, made);
  return made;
}

/** Shows what is known of a video now. */
export function show(video) {
  const shown = row(video);
  const { name, state, bar, text, link } = shown;
  if (shown.last && shown.last !== video.state && isOver(video)) {
    say(`${video.name}: ${video.state}, ${some(video.frames.counted, "frame")} counted`);
  }
  shown.last = video.state;
  name.textContent = video.name;
  state.textContent = state.dataset.state = video.state;
  bar.hidden = isOver(video);
  const done = part(video);
  if (done === null) bar.removeAttribute("value");
  else bar.value = done;
  const objects = Object.values(video.classes).reduce((sum, n) => sum + n, 0);
  text.textContent = `${some(video.frames.counted, "frame")}, ${some(objects, "object")}`;
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

/** Asks for the list at once. */
export function refresh() {
  look.abort();
}

async function once() {
  const { videos, next } = await askJson(`/videos?limit=${limit}`);
  videos.forEach(show);
  const items = videos.map((video) => rows.get(video.id).item);
  // A list that is laid out anew would take the focus with it.
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
  let withdraw = null;
  for (;;) {
    let videos = [];
    look = new AbortController();
    try {
      videos = await once();
      whenListed(videos);
      withdraw?.();
      withdraw = null;
    } catch (problem) {
      withdraw ??= complain(`${problem.message} The list of videos may be old.`);
    }
    const busy = withdraw || videos.some((video) => !isOver(video));
    await pause(busy && !document.hidden ? SOON : LATER, look.signal);
  }
}

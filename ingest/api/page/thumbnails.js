// A few frames, with boxes around their objects.

import { $, clock, count, element, objects, paint, svg } from "./dom.js";
import { requestJson } from "./api.js";
import { overlay } from "./places.js";

/** More do not fit on a screen. The server keeps some more to choose from. */
const SHOWN = 8;

/** The thumbnails of a video. */
export async function list(id, signal) {
  const { stills } = await requestJson(`/videos/${id}/stills`, { signal });
  return stills;
}

function describe(rows) {
  const classes = Object.entries(Object.groupBy(rows, ({ label }) => label));
  classes.sort(([a, first], [b, second]) => second.length - first.length || a.localeCompare(b));
  return classes.map(([label, { length }]) => objects(length, label)).join(", ") || "no objects";
}

/** The boxes, in pixels of the video's own frame. */
function boxes({ width, height }, rows) {
  const letters = width / 26;
  const marks = rows.flatMap(({ label, score, box: [left, top, right, bottom] }) => {
    // Near the right edge, a text that starts at the box would leave the picture.
    const place = left < 0.7 * width ? { x: left + letters / 4 } : { x: right - letters / 4, "text-anchor": "end" };
    const y = top > letters ? top - letters / 4 : top + letters;
    const text = svg("text", { ...place, y, "font-size": letters, "stroke-width": letters / 5 }, `${label} ${Math.round(100 * score)} %`);
    return [paint(svg("rect", { x: left, y: top, width: right - left, height: bottom - top }), label), text];
  });
  return overlay({ width, height }, ...marks);
}

function figure(thumbnail, rows) {
  const what = `Frame ${count(thumbnail.frame)}${thumbnail.time_s === null ? "" : ` at ${clock(thumbnail.time_s)}`}: ${describe(rows)}`;
  const picture = element("img", { src: `data:image/jpeg;base64,${thumbnail.jpeg}`, alt: what, width: thumbnail.width, height: thumbnail.height });
  const frame = element("div", { className: "picture" }, picture, boxes(thumbnail, rows));
  return element("figure", {}, frame, element("figcaption", { textContent: what, ariaHidden: "true" }));
}

/** At most `n` of the items, spread over them: of each group of neighbours the one with the highest value. */
function spread(items, n, value) {
  const groups = Math.min(n, items.length);
  const chosen = [];
  for (let group = 0; group < groups; group += 1) {
    const [from, to] = [group, group + 1].map((g) => Math.floor((g * items.length) / groups));
    chosen.push(items.slice(from, to).reduce((best, item) => (value(item) > value(best) ? item : best)));
  }
  return chosen;
}

/** The thumbnails to show: those with objects first. */
function choose(stills, rows) {
  const value = ({ frame }) => rows.get(frame).length;
  const full = spread(stills.filter((still) => value(still) > 0), SHOWN, value);
  const empty = spread(stills.filter((still) => value(still) === 0), SHOWN - full.length, value);
  return [...full, ...empty].sort((a, b) => a.frame - b.frame);
}

/** Shows the thumbnails of analysed frames, with the objects that are counted. */
export function draw(stills, detections, video) {
  const counted = ({ label }) => label in video.classes;
  const rows = new Map(Array.from(detections.drawn, ([frame, found]) => [frame, found.filter(counted)]));
  const shown = choose(stills.filter(({ frame }) => rows.has(frame)), rows);
  $("stills").replaceChildren(...shown.map((thumbnail) => figure(thumbnail, rows.get(thumbnail.frame))));
  $("stills-card").hidden = shown.length === 0;
}

export function clear() {
  $("stills").replaceChildren();
  $("stills-card").hidden = true;
}

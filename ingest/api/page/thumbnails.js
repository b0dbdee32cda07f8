// A few frames, with boxes around their objects.

import { $, clock, count, element, objects, paint, svg } from "./dom.js";
import { requestJson } from "./api.js";

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
  return svg("svg", { viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" }, ...marks);
}

function figure(thumbnail, rows) {
  const what = `Frame ${count(thumbnail.frame)}${thumbnail.time_s === null ? "" : ` at ${clock(thumbnail.time_s)}`}: ${describe(rows)}`;
  const picture = element("img", { src: `data:image/jpeg;base64,${thumbnail.jpeg}`, alt: what, width: thumbnail.width, height: thumbnail.height });
  const frame = element("div", { className: "picture" }, picture, boxes(thumbnail, rows));
  return element("figure", {}, frame, element("figcaption", { textContent: what, ariaHidden: "true" }));
}

/** Shows the thumbnails of analysed frames, with the objects that are counted. */
export function draw(stills, detections, video) {
  const shown = stills.filter(({ frame }) => detections.drawn.has(frame));
  const counted = ({ label }) => label in video.classes;
  $("stills").replaceChildren(...shown.map((thumbnail) => figure(thumbnail, detections.drawn.get(thumbnail.frame).filter(counted))));
  $("stills-card").hidden = shown.length === 0;
}

export function clear() {
  $("stills").replaceChildren();
  $("stills-card").hidden = true;
}

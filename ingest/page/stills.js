// A few frames, with boxes around what was found in them.

import { $, clock, count, element, objects, paint, svg } from "./dom.js";
import { askJson } from "./api.js";

/** The frames of a video that there are pictures of. */
export async function list(id, signal) {
  const { stills } = await askJson(`/videos/${id}/stills`, { signal });
  return stills;
}

function describe(rows) {
  const classes = Object.entries(Object.groupBy(rows, ({ label }) => label));
  classes.sort(([a, some], [b, others]) => others.length - some.length || a.localeCompare(b));
  return classes.map(([label, { length }]) => objects(length, label)).join(", ") || "nothing found";
}

/** The boxes, in pixels of the video's own frame. */
function boxes({ width, height }, rows) {
  const letters = width / 26;
  const marks = rows.flatMap(({ label, score, box: [left, top, right, bottom] }) => {
    // What begins near the right edge would end beyond it.
    const place = left < 0.7 * width ? { x: left + letters / 4 } : { x: right - letters / 4, "text-anchor": "end" };
    const y = top > letters ? top - letters / 4 : top + letters;
    const text = svg("text", { ...place, y, "font-size": letters, "stroke-width": letters / 5 }, `${label} ${Math.round(100 * score)} %`);
    return [paint(svg("rect", { x: left, y: top, width: right - left, height: bottom - top }), label), text];
  });
  return svg("svg", { viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" }, ...marks);
}

function figure(still, rows) {
  const what = `Frame ${count(still.frame)}${still.time_s === null ? "" : ` at ${clock(still.time_s)}`}: ${describe(rows)}`;
  const picture = element("img", { src: `data:image/jpeg;base64,${still.jpeg}`, alt: what, width: still.width, height: still.height });
  const frame = element("div", { className: "picture" }, picture, boxes(still, rows));
  return element("figure", {}, frame, element("figcaption", { textContent: what, ariaHidden: "true" }));
}

/** Shows the pictures of frames that are looked at already, with those of their objects that count. */
export function draw(stills, detections, video) {
  const shown = stills.filter(({ frame }) => detections.drawn.has(frame));
  const counted = ({ label }) => label in video.classes;
  $("stills").replaceChildren(...shown.map((still) => figure(still, detections.drawn.get(still.frame).filter(counted))));
  $("stills-card").hidden = shown.length === 0;
}

export function clear() {
  $("stills").replaceChildren();
  $("stills-card").hidden = true;
}

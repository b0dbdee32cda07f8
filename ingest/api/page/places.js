// Lines and zones: where they are, the ways of objects, and what was counted there.

import { $, count, element, paint, svg } from "./dom.js";
import { requestJson } from "./api.js";

/** More ways than this hide the picture. */
const MAX_PATHS = 100;

/** The name and the points of a line or zone, as an upload has it: `name[classes]@anchor: x,y x,y`. */
function parse(text) {
  const [head, points] = text.split(/:(.*)/s);
  return { name: head.replace(/[[@].*/s, "").trim(), points: points.trim().split(/\s+/).map((point) => point.split(",").map(Number)) };
}

const seconds = (time) => `${time.toFixed(1)}\u00a0s`;

const cell = (textContent) => element("td", { textContent });

/** One row for each class that crossed a line, and for each zone. */
export function show({ analytics, lines, zones }) {
  $("places-card").hidden = !lines.length && !zones.length;
  $("lines-table").hidden = !lines.length;
  $("zones-table").hidden = !zones.length;
  const crossings = lines.map(parse).flatMap(({ name }) => {
    const { in: inwards = {}, out = {} } = analytics?.lines?.[name] ?? {};
    const labels = [...new Set([...Object.keys(inwards), ...Object.keys(out)])].sort();
    const row = (label) => element("tr", {}, element("th", { scope: "row", textContent: name }), cell(label), cell(count(inwards[label] ?? 0)), cell(count(out[label] ?? 0)));
    return labels.length ? labels.map(row) : [row("–")];
  });
  $("crossings").replaceChildren(...crossings);
  const sum = (counts) => count(Object.values(counts ?? {}).reduce((total, n) => total + n, 0));
  const visits = zones.map(parse).map(({ name }) => {
    const { occupancy, entries, exits, dwell } = analytics?.zones?.[name] ?? {};
    const { least = 0, mean = 0, most = 0 } = occupancy ?? {};
    const stays = dwell ? [seconds(dwell.median_s), seconds(dwell.longest_s)] : ["–", "–"];
    return element("tr", {}, element("th", { scope: "row", textContent: name }), ...[count(least), mean.toFixed(1), count(most), sum(entries), sum(exits), ...stays].map(cell));
  });
  $("visits").replaceChildren(...visits);
}

/** The lines and zones on a frame, with the ways of the objects that were followed. */
export async function draw({ id, lines, zones }, stills, signal) {
  const still = stills[Math.floor(stills.length / 2)];
  if (!still || (!lines.length && !zones.length)) return;
  const { records } = await requestJson(`/videos/${id}/tracks`, { signal });
  const { width, height } = still;
  const at = ([x, y]) => `${x * width},${y * height}`;
  const letters = width / 26;
  const label = ({ name, points: [[x, y]] }) => svg("text", { x: x * width + letters / 4, y: y * height + (y < 0.1 ? letters : -letters / 4), "font-size": letters, "stroke-width": letters / 5 }, name);
  const ways = records.slice(-MAX_PATHS).map(({ path, label: of }) => paint(svg("polyline", { class: "way", points: path.map(([, x, y]) => at([x, y])).join(" ") }), of));
  const areas = zones.map(parse).flatMap((zone) => [svg("polygon", { class: "zone", points: zone.points.map(at).join(" ") }), label(zone)]);
  const borders = lines.map(parse).flatMap((line) => [svg("polyline", { class: "border", points: line.points.map(at).join(" ") }), label(line)]);
  const what = `Lines and zones on a frame, with the ways of ${count(ways.length)} objects`;
  const picture = element("img", { src: `data:image/jpeg;base64,${still.jpeg}`, alt: what, width, height });
  const marks = svg("svg", { viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" }, ...areas, ...ways, ...borders);
  if (!signal.aborted) $("map").replaceChildren(element("figure", {}, element("div", { className: "picture" }, picture, marks)));
}

export function clear() {
  $("places-card").hidden = true;
  $("map").replaceChildren();
}

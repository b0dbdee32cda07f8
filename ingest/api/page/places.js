// Lines and zones: where they are, the ways of objects, and what was counted there.

import { $, count, element, paint, svg } from "./dom.js";
import { requestJson } from "./api.js";
import { charts } from "./charts.js";

/** More ways than this hide the picture. */
const MAX_PATHS = 100;
/** The ways of more objects are megabytes. */
const MAX_TRACKS = 2000;

/** The parts of a line or zone, as an upload has it: `name[classes]@anchor: x,y x,y`. */
export function parse(text) {
  const [head, points = ""] = text.split(/:(.*)/s);
  const corners = points.trim().split(/\s+/).map((point) => point.split(",").map((part) => (part.trim() ? Number(part) : NaN)));
  return { head: head.trim(), name: head.replace(/[[@].*/s, "").trim(), points: corners };
}

const seconds = (time) => `${time.toFixed(1)}\u00a0s`;

function table(heads, rows, name) {
  const head = heads.map((textContent) => element("th", { scope: "col", textContent }));
  const made = element("table", { className: "plain places" }, element("thead", {}, element("tr", {}, ...head)), element("tbody", {}, ...rows));
  return element("div", { className: "scroll", tabIndex: 0, role: "group", ariaLabel: name }, made);
}

const row = (name, ...cells) => element("tr", {}, element("th", { scope: "row", textContent: name }), ...cells.map((textContent) => element("td", { textContent })));

/** One row for each class that crossed a line, and for each zone. */
export function tables(analytics, lines, zones) {
  const crossings = lines.flatMap(({ name }) => {
    const { in: inwards = {}, out = {} } = analytics?.lines?.[name] ?? {};
    const labels = [...new Set([...Object.keys(inwards), ...Object.keys(out)])].sort();
    const of = (label) => row(name, label, count(inwards[label] ?? 0), count(out[label] ?? 0));
    return labels.length ? labels.map(of) : [of("–")];
  });
  const sum = (counts) => count(Object.values(counts ?? {}).reduce((total, n) => total + n, 0));
  const visits = zones.map(({ name }) => {
    const { occupancy, entries, exits, dwell } = analytics?.zones?.[name] ?? {};
    const { least = 0, mean = 0, most = 0 } = occupancy ?? {};
    const stays = dwell ? [seconds(dwell.median_s), seconds(dwell.longest_s)] : ["–", "–"];
    return row(name, count(least), mean.toFixed(1), count(most), sum(entries), sum(exits), ...stays);
  });
  return [
    ...(lines.length ? [table(["Line", "Class", "In", "Out"], crossings, "Crossings of lines")] : []),
    ...(zones.length ? [table(["Zone", "Fewest", "Mean", "Most", "Entries", "Exits", "Median stay", "Longest"], visits, "Visits of zones")] : []),
  ];
}

export function show({ analytics, lines, zones }) {
  $("places-card").hidden = !lines.length && !zones.length;
  $("places").replaceChildren(...tables(analytics, lines.map(parse), zones.map(parse)));
}

/** The ways of the objects of a video, unless there are too many, and what happened over time. */
export async function load({ id, analytics }, signal) {
  const different = Object.values(analytics?.tracks ?? {}).reduce((sum, n) => sum + n, 0);
  if (different <= MAX_TRACKS) return requestJson(`/videos/${id}/tracks`, { signal });
  const headers = { "content-type": "application/json" };
  const answer = await requestJson(`/videos/${id}/analyses`, { method: "POST", headers, body: "{}", signal });
  return { ...answer, records: [] };
}

/** A frame, and what is drawn over it. */
export function picture({ jpeg, width, height }, alt, marks) {
  const frame = element("img", { src: `data:image/jpeg;base64,${jpeg}`, alt, width, height });
  return element("div", { className: "picture" }, frame, marks);
}

/** What is drawn over a frame. Pixels of a video need not be square: it has the picture's shape, not the frame's. */
export const overlay = ({ width, height }, ...marks) => svg("svg", { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", "aria-hidden": "true" }, ...marks);

/** The ways of the last objects that were followed. */
export const ways = (records, { width, height }) =>
  records.slice(-MAX_PATHS).map(({ path, label }) => paint(svg("polyline", { class: "way", points: path.map(([, x, y]) => `${x * width},${y * height}`).join(" ") }), label));

/** A line or a zone, with its name. */
export function outline(kind, { name, points }, { width, height }) {
  const corners = points.map(([x, y]) => `${x * width},${y * height}`).join(" ");
  const [[x, y]] = points;
  const letters = width / 26;
  const place = { x: x * width + letters / 4, y: y * height + (y < 0.1 ? letters : -letters / 4) };
  const shape = kind === "zone" ? svg("polygon", { class: "zone", points: corners }) : svg("polyline", { class: "border", points: corners });
  return [shape, svg("text", { ...place, "font-size": letters, "stroke-width": letters / 5 }, name)];
}

/** The frame in the middle, with the lines, zones and ways on it, and what happened over time. */
export function draw({ lines, zones }, stills, { records, timeline }) {
  $("trends").replaceChildren(...charts(timeline));
  const still = stills[Math.floor(stills.length / 2)];
  if (!still) return;
  const marks = [
    ...zones.map(parse).flatMap((zone) => outline("zone", zone, still)),
    ...ways(records, still),
    ...lines.map(parse).flatMap((line) => outline("line", line, still)),
  ];
  const what = `Lines and zones on a frame, with the ways of ${count(Math.min(MAX_PATHS, records.length))} objects`;
  const drawing = overlay(still, ...marks);
  $("map").replaceChildren(element("figure", {}, picture(still, what, drawing)));
}

export function clear() {
  $("places-card").hidden = true;
  $("map").replaceChildren();
  $("trends").replaceChildren();
}

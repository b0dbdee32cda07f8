// What happened at lines and in zones over time: a small chart of each, with a table.

import { clock, count, element, paint, svg } from "./dom.js";

/** Rows of a table: more are joined. */
const ROWS = 32;
/** The unit of the drawings is arbitrary: they are stretched. */
const HEIGHT = 100;

const sum = (numbers) => numbers.reduce((total, n) => total + n, 0);
const most = (numbers) => numbers.reduce((a, b) => Math.max(a, b), 0);

/** When the nth interval begins; the last one ends with the video. */
const begin = ({ start_s: start, end_s: end, step_s: step }, n) => Math.min(end, start + n * step);

/** Rows of a table: from, to, and what `cells` makes of the intervals in between. */
function table(timeline, length, heads, cells) {
  const step = Math.max(1, Math.ceil(length / ROWS));
  const rows = [];
  for (let from = 0; from < length; from += step) {
    const to = Math.min(length, from + step);
    const texts = [clock(begin(timeline, from)), clock(begin(timeline, to)), ...cells(from, to)];
    rows.push(element("tr", {}, ...texts.map((textContent) => element("td", { textContent }))));
  }
  const head = ["From", "To", ...heads].map((textContent) => element("th", { scope: "col", textContent }));
  return element("table", { className: "plain" }, element("thead", {}, element("tr", {}, ...head)), element("tbody", {}, ...rows));
}

function figure(title, text, timeline, length, marks, top, rows) {
  const drawing = svg("svg", { viewBox: `0 0 ${length} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": `${title} over time: ${text}` }, ...marks);
  const plot = element("div", { className: "plot" }, element("span", { className: "top-label", textContent: top, ariaHidden: "true" }), drawing);
  const ends = [begin(timeline, 0), timeline.end_s].map((time) => element("span", { textContent: clock(time) }));
  const scroll = element("div", { className: "scroll", tabIndex: 0, role: "group", ariaLabel: `${title} over time` }, rows);
  const details = element("details", {}, element("summary", { textContent: "Show as a table", ariaLabel: `Show as a table: ${title}` }), scroll);
  return element("figure", { className: "trend" }, element("figcaption", { textContent: `${title}: ${text}` }), plot, element("div", { className: "ends", ariaHidden: "true" }, ...ends), details);
}

/** Crossings of a line: in above the middle, out below. */
function crossings(name, { in: inwards, out }, timeline) {
  const highest = Math.max(1, most(inwards), most(out));
  const middle = HEIGHT / 2;
  const bars = inwards.flatMap((n, at) => {
    const [up, down] = [n, out[at]].map((crossed) => (crossed / highest) * (middle - 2));
    const bar = (kind, y, height) => svg("rect", { class: kind, x: at + 0.1, y, width: 0.8, height });
    return [...(up ? [bar("in", middle - up, up)] : []), ...(down ? [bar("out", middle, down)] : [])];
  });
  const axis = svg("line", { class: "axis", x1: 0, x2: inwards.length, y1: middle, y2: middle });
  const rows = table(timeline, inwards.length, ["In", "Out"], (from, to) => [inwards, out].map((n) => count(sum(n.slice(from, to)))));
  return figure(`Line ${name}`, `${count(sum(inwards))} in (above), ${count(sum(out))} out (below)`, timeline, inwards.length, [...bars, axis], count(highest), rows);
}

/** Tracks in a zone: from the fewest to the most as an area, the mean as a line. */
function occupancy(name, { least, mean, most: peaks }, timeline) {
  const highest = Math.max(1, most(peaks));
  const y = (n) => HEIGHT - 2 - (n / highest) * (HEIGHT - 4);
  const stairs = (numbers) => numbers.flatMap((n, at) => [`${at},${y(n)}`, `${at + 1},${y(n)}`]);
  const area = svg("polygon", { class: "range", points: [...stairs(peaks), ...stairs(least).reverse()].join(" ") });
  const line = svg("polyline", { class: "mean", points: stairs(mean).join(" ") });
  const axis = svg("line", { class: "axis", x1: 0, x2: mean.length, y1: HEIGHT - 1, y2: HEIGHT - 1 });
  const rows = table(timeline, mean.length, ["Mean", "Most"], (from, to) => {
    const seconds = mean.slice(from, to).map((n, at) => n * (begin(timeline, from + at + 1) - begin(timeline, from + at)));
    const length = begin(timeline, to) - begin(timeline, from);
    return [(length ? sum(seconds) / length : mean[from]).toFixed(2), count(most(peaks.slice(from, to)))];
  });
  return figure(`Zone ${name}`, `at most ${count(most(peaks))} at once`, timeline, mean.length, [area, line, axis], count(highest), rows);
}

/** A chart of each line and of each zone. */
export function charts(timeline) {
  if (!timeline) return [];
  const of = (places, draw) => Object.entries(places ?? {}).map(([name, series]) => paint(draw(name, series, timeline), name));
  return [...of(timeline.lines, crossings), ...of(timeline.zones, occupancy)];
}

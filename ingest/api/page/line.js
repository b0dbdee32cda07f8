// A class over time, as a line with alarms marked on it, as a text for each frame, and as a table.

import { $, clock, color, count, element, objects } from "./dom.js";

const INTERVALS = 40;
const HEIGHT = 220;

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

let plot = null;
let shown = { frames: [], times: null, counts: [], label: "", alarms: [], at: new Map(), range: [0, 1] };

const place = (n) => (shown.times ? shown.times[n] : shown.frames[n]);
const name = (value) => (shown.times ? clock(value) : count(value));

function markAlarms({ ctx, bbox, valToPos }) {
  ctx.save();
  ctx.strokeStyle = ctx.fillStyle = css("--alarm");
  ctx.lineWidth = devicePixelRatio;
  const side = 5 * devicePixelRatio;
  for (const { frame } of shown.alarms) {
    if (!shown.at.has(frame)) continue;
    const x = Math.round(valToPos(place(shown.at.get(frame)), "x", true));
    ctx.beginPath();
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, bbox.top + bbox.height);
    ctx.globalAlpha = 0.35;
    ctx.stroke();
    ctx.globalAlpha = 1;
    ctx.beginPath();
    ctx.moveTo(x - side, bbox.top - side);
    ctx.lineTo(x + side, bbox.top - side);
    ctx.lineTo(x, bbox.top + side);
    ctx.fill();
  }
  ctx.restore();
}

const ticks = (_, splits, __, ___, step) => splits.map((value) => (shown.times ? clock(value, step < 1 ? 1 : 0) : count(value)));

function options(width) {
  const axis = { stroke: () => css("--faint"), grid: { stroke: () => css("--line"), width: 1 }, ticks: { stroke: () => css("--line"), width: 1 } };
  return {
    width,
    height: HEIGHT,
    padding: [14, 14, 0, 0],
    legend: { show: false },
    cursor: { y: false, drag: { x: false, y: false } },
    scales: { x: { time: false, range: () => shown.range }, y: { range: (_, __, max) => [0, Math.max(1, Math.ceil(max * 1.1))] } },
    axes: [
      { ...axis, space: 70, size: 30, values: ticks },
      { ...axis, size: 44, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000] },
    ],
    series: [
      {},
      {
        stroke: () => css(color(shown.label)),
        fill: () => `${css(color(shown.label))}22`,
        width: 2,
        points: { show: false },
        paths: uPlot.paths.stepped({ align: 1 }),
      },
    ],
    hooks: { draw: [markAlarms], setCursor: [({ cursor }) => cursor.event && cursor.idx !== null && read(cursor.idx)] },
  };
}

/** Shows the counts of one frame. */
function read(at) {
  const { frames, times, counts, label, alarms } = shown;
  if (!frames.length) return;
  const when = times ? `${clock(times[at])} · ` : "";
  const raised = alarms.filter(({ frame }) => frame === frames[at]).map(({ rule }) => ` · alarm: ${rule}`);
  const text = `${when}frame ${count(frames[at])}: ${objects(counts[at], label)}${raised.join("")}`;
  $("position").value = at;
  $("position").setAttribute("aria-valuetext", text);
  $("readout").textContent = text;
}

function tabulate() {
  const { frames, counts, alarms } = shown;
  const step = Math.max(1, Math.ceil(frames.length / INTERVALS));
  const rows = [];
  for (let from = 0; from < frames.length; from += step) {
    const to = Math.min(from + step, frames.length) - 1;
    const interval = counts.slice(from, to + 1);
    const mean = interval.reduce((sum, n) => sum + n, 0) / interval.length;
    const raised = alarms.filter(({ frame }) => frame >= frames[from] && frame <= frames[to]).length;
    const cells = [name(place(from)), name(place(to)), count(interval.reduce((a, b) => Math.max(a, b), 0)), mean.toFixed(2), count(raised)];
    rows.push(element("tr", {}, ...cells.map((textContent) => element("td", { textContent }))));
  }
  $("intervals").replaceChildren(...rows);
}

/**
 * The beginning and the end of the axis. While a video is being counted, it already has the video's whole length, if that
 * is known: what is counted so far is the left part.
 */
export function extent({ frames: total, every, summary }, frames, times) {
  if (!frames.length) return [0, 1];
  const places = times ?? frames;
  const [first, last] = [places[0], places.at(-1)];
  const ratio = (last - first) / (frames.at(-1) - frames[0]);
  const whole = !summary && total.total ? first + ratio * (total.total - 1) * every : last;
  return [first, Math.max(last, Number.isFinite(whole) ? whole : last, first + (times ? 0.1 : 1))];
}

/** Draws the counts of class `label`, and marks the alarms. */
export function draw(detections, label, alarms, video) {
  const { frames, times } = detections;
  const at = new Map(frames.map((frame, n) => [frame, n]));
  shown = { frames, times, counts: detections.series(label), label, alarms, at, range: extent(video, frames, times) };
  const data = [frames.map((_, n) => place(n)), shown.counts];
  if (plot) plot.setData(data);
  else plot = new uPlot(options($("chart").clientWidth), data, $("chart"));
  $("position").max = Math.max(0, frames.length - 1);
  $("position").disabled = frames.length === 0;
  tabulate();
  read(Math.min($("position").valueAsNumber, Math.max(0, frames.length - 1)));
}

export function clear() {
  plot?.destroy();
  plot = null;
  $("position").value = 0;
  $("readout").textContent = "";
  $("intervals").replaceChildren();
}

export function start() {
  new ResizeObserver(() => plot?.setSize({ width: $("chart").clientWidth, height: HEIGHT })).observe($("chart"));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => plot?.redraw());
  $("position").addEventListener("input", ({ target }) => {
    const at = target.valueAsNumber;
    plot?.setCursor({ left: plot.valToPos(place(at), "x"), top: 0 });
    read(at);
  });
}

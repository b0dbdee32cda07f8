// One video: its state, counts, alarms, and frames.

import { $, clock, showError, count, element, objects, paint, announce, plural } from "./dom.js";
import { again, forget, isRepeatable } from "./again.js";
import { Problem, request, requestJson, follow, pause } from "./api.js";
import * as ask from "./ask.js";
import * as comparison from "./compare.js";
import { copies, row } from "./copy.js";
import { Detections } from "./detections.js";
import * as line from "./line.js";
import * as places from "./places.js";
import * as thumbnails from "./thumbnails.js";
import { hasEnded, part, remove as removeFromList, show as showInList } from "./videos.js";

/** Reload the detections when this many times more frames are counted: the total stays proportional to the video. */
const RELOAD_FACTOR = 1.25;
/** Milliseconds between two loads. */
const MIN_PAUSE = 1500;
/** Milliseconds between two questions whether a detector serves the model. */
const WAITING_PAUSE = 5000;
const MAX_ALARMS = 200;

let opened = null;

class Opened {
  alarms = new Map();
  detections = new Detections();
  video = null;
  label = null;
  closing = new AbortController();
  loaded = 0;
  loading = null;
  dismiss = null;

  constructor(id) {
    this.id = id;
  }

  async follow() {
    const onEvent = (kind, data) => {
      if (kind === "video") this.show(data);
      if (kind === "alarm") this.alarm(data);
      if (kind === "summary" && this.video) this.show({ ...this.video, state: data.state, summary: data });
    };
    try {
      await follow(this.id, onEvent, this.closing.signal);
    } catch (problem) {
      if (this.closing.signal.aborted) return;
      showError(problem.message);
      if (problem.status === 404) location.hash = "";
    }
  }

  close() {
    this.closing.abort();
  }

  /** Shows why the video waits, if no detector serves its model: that is no event of the video. */
  async watchWaiting() {
    const { signal } = this.closing;
    while (!signal.aborted && !(this.video && hasEnded(this.video))) {
      if (this.video && !document.hidden) {
        const { waiting } = await requestJson(`/videos/${this.id}`, { signal }).catch(() => ({}));
        if (signal.aborted) return;
        $("waiting").textContent = waiting ? `Waiting: ${waiting}.` : "";
        $("waiting").hidden = !waiting;
      }
      await pause(WAITING_PAUSE, signal);
    }
    if (!signal.aborted) $("waiting").hidden = true;
  }

  /** Compares with other models once the video is counted. */
  compare() {
    if (this.compared || !this.video.summary) return;
    this.compared = true;
    const { signal } = this.closing;
    comparison.load(this.id, signal).catch((problem) => {
      if (!signal.aborted) showError(problem.message);
    });
  }

  show(video) {
    this.video = video;
    showInList(video);
    const { frames, classes, state, summary } = video;
    $("empty").hidden = true;
    $("video").hidden = false;
    $("name").textContent = video.name;
    document.title = `${video.name} – Moliceiro`;
    $("state").textContent = $("state").dataset.state = state;
    $("cancel").hidden = hasEnded(video);
    $("delete").hidden = !summary;
    $("again").hidden = !summary || !isRepeatable(video);
    $("problem").hidden = !summary?.problem;
    $("problem").textContent = summary?.problem ?? "";
    $("remarks").replaceChildren(...(summary?.notices ?? []).map((textContent) => element("li", { textContent })));
    $("video").classList.toggle("nothing", hasEnded(video) && frames.counted + frames.failed === 0);
    $("progress").hidden = hasEnded(video);
    if (hasEnded(video)) $("waiting").hidden = true;
    const done = part(video);
    if (done === null) $("bar").removeAttribute("value");
    else $("bar").value = done;
    $("progress-text").textContent = progress(video);
    $("frames").textContent = count(frames.counted) + (frames.failed ? ` (${count(frames.failed)} failed)` : "");
    $("objects").textContent = count(Object.values(classes).reduce((sum, n) => sum + n, 0));
    $("kinds").textContent = count(Object.keys(classes).length);
    $("alarm-count").textContent = count(video.alarms);
    $("speed").textContent = summary?.processed_frames ? `${summary.average_processing_ms.toFixed(1)}\u00a0ms` : "–";
    $("duration").textContent = summary?.duration_s ? clock(summary.duration_s) : "–";
    for (const link of $("downloads").querySelectorAll("a")) link.href = downloads[link.dataset.kind].path(this.id);
    for (const kind of ["text", "json"]) $("downloads").querySelector(`[data-kind=${kind}]`).parentElement.hidden = !summary;
    this.bars(classes, video.most_at_once, video.analytics?.tracks);
    places.show(video);
    this.choices(classes);
    this.load();
    this.compare();
  }

  bars(classes, mostAtOnce, different) {
    const ranked = rank(classes);
    const most = ranked[0]?.[1] ?? 1;
    const rows = ranked.map(([label, n]) => {
      const fill = paint(element("div", { className: "fill" }), label);
      fill.style.width = `${(100 * n) / most}%`;
      const cells = [element("th", { scope: "row", textContent: label }), element("td", {}, fill), element("td", { textContent: count(n) }), element("td", { textContent: count(mostAtOnce[label] ?? 0) }), element("td", { textContent: different ? count(different[label] ?? 0) : "–" })];
      return element("tr", {}, ...cells);
    });
    $("classes").replaceChildren(...rows);
    $("classes").parentElement.hidden = ranked.length === 0;
    $("no-classes").hidden = ranked.length > 0;
    $("no-classes").textContent = hasEnded(this.video) ? "No objects found." : "No objects found yet.";
  }

  /** The classes to choose from. The default is person, or else the most frequent class. */
  choices(classes) {
    const labels = rank(classes).map(([label]) => label);
    const select = $("class");
    if ([...select.options].map(({ value }) => value).join("\n") !== labels.join("\n")) {
      const before = document.activeElement === select ? select.value : this.label;
      select.replaceChildren(...labels.map((value) => element("option", { value, textContent: value })));
      select.value = before ?? (labels.includes("person") ? "person" : (labels[0] ?? ""));
    }
    select.disabled = labels.length === 0;
  }

  alarm(alarm) {
    this.alarms.set(alarm.number, alarm);
    if (this.alarms.size > 1 && this.drawing) return;
    // Earlier alarms arrive all at once: draw them once.
    this.drawing = requestAnimationFrame(() => {
      this.drawing = null;
      if (!this.closing.signal.aborted) this.drawAlarms();
    });
  }

  drawAlarms() {
    const alarms = [...this.alarms.values()].sort((a, b) => a.number - b.number);
    const rows = alarms.slice(0, MAX_ALARMS).map(({ frame, time_s: time, rule, label, count: n }) => {
      const when = time === null ? "" : ` at ${clock(time)}`;
      return element("li", { textContent: `Frame ${count(frame)}${when}: ${objects(n, label)} (${rule})` });
    });
    $("alarms").replaceChildren(...rows);
    $("alarms-card").hidden = false;
    $("more-alarms").hidden = alarms.length <= MAX_ALARMS;
    $("more-alarms").textContent = `and ${count(alarms.length - MAX_ALARMS)} more`;
    this.drawLine();
  }

  drawLine() {
    if (this.video) line.draw(this.detections, $("class").value, [...this.alarms.values()], this.video);
  }

  /** Loads the detections if there are enough new ones, one load at a time. */
  load() {
    const { frames, summary } = this.video;
    const counted = frames.counted + frames.failed;
    const due = summary ? !this.complete : counted > 0 && counted >= this.loaded * RELOAD_FACTOR;
    if (this.loading || !due) return;
    const { signal } = this.closing;
    this.loading = this.read(signal)
      .catch((problem) => {
        if (!signal.aborted) this.dismiss = showError(problem instanceof Problem ? problem.message : "Cannot load the detections.");
        return pause(MIN_PAUSE, signal);
      })
      .then(() => {
        this.loading = null;
        if (!signal.aborted) this.load();
      });
  }

  async read(signal) {
    const { summary, frames } = this.video;
    const kept = await thumbnails.list(this.id, signal);
    this.detections = await Detections.load(this.id, kept.map(({ frame }) => frame), signal);
    if (signal.aborted) return;
    this.dismiss?.();
    this.dismiss = null;
    this.loaded = frames.counted + frames.failed;
    this.complete = Boolean(summary);
    this.drawLine();
    thumbnails.draw(kept, this.detections, this.video);
    await this.drawPlaces(kept, signal);
    if (!this.complete) await pause(MIN_PAUSE, signal);
  }

  /** The ways of objects, and what happened at lines and in zones. Once the video is finished, other ones can be asked for. */
  async drawPlaces(kept, signal) {
    const { video, complete } = this;
    const isAsked = video.lines.length > 0 || video.zones.length > 0;
    if (!this.loaded || !(complete || isAsked)) return;
    const tracks = await places.load(video, signal);
    if (signal.aborted) return;
    places.draw(video, kept, tracks);
    if (complete) ask.show(video, kept, tracks, signal);
  }
}

function rank(classes) {
  return Object.entries(classes).sort(([a, n], [b, m]) => m - n || a.localeCompare(b));
}

function progress({ frames, state }) {
  if (state === "queued") return "Waiting for decoding.";
  const of = frames.total ? ` of ${count(frames.total)}` : "";
  return `${plural(frames.counted + frames.failed, "frame")}${of} analysed, ${count(frames.decoded)} decoded`;
}

const downloads = {
  csv: { path: (id) => `/videos/${id}/detections`, accept: "text/csv", ending: ".csv" },
  ndjson: { path: (id) => `/videos/${id}/detections`, accept: "application/x-ndjson", ending: ".ndjson" },
  text: { path: (id) => `/videos/${id}/summary`, accept: "text/plain", ending: ".txt" },
  json: { path: (id) => `/videos/${id}/summary`, accept: "application/json", ending: ".json" },
};

/** A plain link cannot send a token or choose a format. */
async function save(event) {
  const link = event.target.closest("a");
  if (!link || !opened?.video) return;
  event.preventDefault();
  const { path, accept, ending } = downloads[link.dataset.kind];
  const { id, name } = opened.video;
  link.ariaDisabled = "true";
  try {
    const response = await request(path(id), { headers: { accept } });
    const href = URL.createObjectURL(await response.blob());
    element("a", { href, download: name.replace(/\.[^.]*$/, "") + ending }).click();
    setTimeout(() => URL.revokeObjectURL(href), 60000);
  } catch (problem) {
    showError(problem.message);
  } finally {
    link.ariaDisabled = null;
  }
}

async function cancel() {
  const { id, video } = opened;
  const dialog = $("cancel-dialog");
  dialog.returnValue = "";
  dialog.showModal();
  await new Promise((resolve) => dialog.addEventListener("close", resolve, { once: true }));
  if (dialog.returnValue !== "yes") return;
  try {
    await request(`/videos/${id}`, { method: "DELETE" });
    announce(`Stopping ${video.name}`);
  } catch (problem) {
    showError(problem.message);
  }
}

/** The links of a video, for programs. */
const links = (id) => [
  row("State and counts", `/videos/${id}`),
  row("Events", `/videos/${id}/events`),
  row("Detections", `/videos/${id}/detections`),
  row("Tracks", `/videos/${id}/tracks`),
  row("Summary", `/videos/${id}/summary`),
  row("Analyses", `/videos/${id}/analyses`),
];

/** Opens a video; closes the current one if the id is empty. */
export function open(id) {
  if (opened?.id === id) return;
  opened?.close();
  line.clear();
  thumbnails.clear();
  places.clear();
  ask.clear();
  comparison.clear();
  $("waiting").hidden = true;
  $("alarms-card").hidden = true;
  $("class").replaceChildren();
  $("video").hidden = true;
  $("empty").hidden = Boolean(id);
  document.title = "Moliceiro";
  $("links").replaceChildren(...(id ? links(id) : []));
  opened = id ? new Opened(id) : null;
  opened?.follow();
  opened?.watchWaiting();
}

/** True while the open video has not ended. */
export const isBusy = () => Boolean(opened && !(opened.video && hasEnded(opened.video)));

/** Calls `whenAccepted` with a video that is counted again. */
export function start(whenAccepted) {
  line.start();
  ask.start();
  comparison.start();
  $("curl").textContent = `curl -F 'video=@street.mp4' ${location.origin}`;
  $("cancel").addEventListener("click", cancel);
  copies($("copy-page"), () => location.href);
  $("again").addEventListener("click", () => again(opened.video, whenAccepted));
  $("delete").addEventListener("click", () => {
    const { video } = opened;
    forget(video, () => {
      removeFromList(video.id);
      if (opened?.id === video.id) location.hash = "";
    });
  });
  $("downloads").addEventListener("click", save);
  $("class").addEventListener("change", ({ target }) => {
    opened.label = target.value;
    opened.drawLine();
  });
}

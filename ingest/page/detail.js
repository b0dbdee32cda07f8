// One video: its state, its counts, its alarms, and what is in its frames.

import { $, clock, complain, count, element, objects, paint, say, some } from "./dom.js";
import { Problem, ask, follow, pause } from "./api.js";
import { Detections } from "./detections.js";
import * as line from "./line.js";
import * as stills from "./stills.js";
import { isOver, part, show as showInList } from "./videos.js";

/** Detections are read again when so many more frames are counted, so that all readings together stay in proportion. */
const MORE = 1.25;
const AT_LEAST = 1500;
const MOST_ALARMS = 200;

let opened = null;

class Opened {
  alarms = new Map();
  detections = new Detections();
  video = null;
  label = null;
  closing = new AbortController();
  loaded = 0;
  loading = null;
  withdraw = null;

  constructor(id) {
    this.id = id;
  }

  async follow() {
    const tell = (kind, data) => {
      if (kind === "video") this.show(data);
      if (kind === "alarm") this.alarm(data);
      if (kind === "summary" && this.video) this.show({ ...this.video, state: data.state, summary: data });
    };
    try {
      await follow(this.id, tell, this.closing.signal);
    } catch (problem) {
      if (this.closing.signal.aborted) return;
      complain(problem.message);
      if (problem.status === 404) location.hash = "";
    }
  }

  close() {
    this.closing.abort();
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
    $("cancel").hidden = isOver(video);
    $("problem").hidden = !summary?.problem;
    $("problem").textContent = summary?.problem ?? "";
    $("video").classList.toggle("nothing", isOver(video) && frames.counted + frames.failed === 0);
    $("progress").hidden = isOver(video);
    const done = part(video);
    if (done === null) $("bar").removeAttribute("value");
    else $("bar").value = done;
    $("progress-text").textContent = progress(video);
    $("frames").textContent = count(frames.counted) + (frames.failed ? ` (${count(frames.failed)} failed)` : "");
    $("objects").textContent = count(Object.values(classes).reduce((sum, n) => sum + n, 0));
    $("kinds").textContent = count(Object.keys(classes).length);
    $("alarm-count").textContent = count(video.alarms);
    $("speed").textContent = summary?.processed_frames ? `${summary.average_processing_ms.toFixed(1)} ms` : "–";
    $("duration").textContent = summary?.duration_s ? clock(summary.duration_s) : "–";
    for (const link of $("downloads").querySelectorAll("a")) link.href = downloads[link.dataset.kind].path(this.id);
    for (const kind of ["text", "json"]) $("downloads").querySelector(`[data-kind=${kind}]`).parentElement.hidden = !summary;
    this.bars(classes);
    this.choices(classes);
    this.load();
  }

  bars(classes) {
    const ranked = rank(classes);
    const most = ranked[0]?.[1] ?? 1;
    const rows = ranked.map(([label, n]) => {
      const fill = paint(element("div", { className: "fill" }), label);
      fill.style.width = `${(100 * n) / most}%`;
      const cells = [element("th", { scope: "row", textContent: label }), element("td", {}, fill), element("td", { textContent: count(n) })];
      return element("tr", {}, ...cells);
    });
    $("classes").replaceChildren(...rows);
    $("no-classes").hidden = ranked.length > 0;
    $("no-classes").textContent = isOver(this.video) ? "Nothing was found." : "Nothing found yet.";
  }

  /** The classes to choose from. Until a person chooses, it is persons, or else what there is most of. */
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
    // Alarms of the past come all at once.
    this.drawing = requestAnimationFrame(() => {
      this.drawing = null;
      if (!this.closing.signal.aborted) this.drawAlarms();
    });
  }

  drawAlarms() {
    const alarms = [...this.alarms.values()].sort((a, b) => a.number - b.number);
    const rows = alarms.slice(0, MOST_ALARMS).map(({ frame, time_s: time, rule, label, count: n }) => {
      const when = time === null ? "" : ` at ${clock(time)}`;
      return element("li", { textContent: `Frame ${count(frame)}${when}: ${objects(n, label)} (${rule})` });
    });
    $("alarms").replaceChildren(...rows);
    $("alarms-card").hidden = false;
    $("more-alarms").hidden = alarms.length <= MOST_ALARMS;
    $("more-alarms").textContent = `and ${count(alarms.length - MOST_ALARMS)} more`;
    this.drawLine();
  }

  drawLine() {
    if (this.video) line.draw(this.detections, $("class").value, [...this.alarms.values()]);
  }

  /** Reads the detections if there are enough new ones, one reading at a time. */
  load() {
    const { frames, summary } = this.video;
    const counted = frames.counted + frames.failed;
    const due = summary ? !this.complete : counted > 0 && counted >= this.loaded * MORE;
    if (this.loading || !due) return;
    const { signal } = this.closing;
    this.loading = this.read(signal)
      .catch((problem) => {
        if (!signal.aborted) this.withdraw = complain(problem instanceof Problem ? problem.message : "The detections cannot be read.");
        return pause(AT_LEAST, signal);
      })
      .then(() => {
        this.loading = null;
        if (!signal.aborted) this.load();
      });
  }

  async read(signal) {
    const { summary, frames } = this.video;
    const kept = await stills.list(this.id, signal);
    this.detections = await Detections.load(this.id, kept.map(({ frame }) => frame), signal);
    if (signal.aborted) return;
    this.withdraw?.();
    this.withdraw = null;
    this.loaded = frames.counted + frames.failed;
    this.complete = Boolean(summary);
    this.drawLine();
    stills.draw(kept, this.detections, this.video);
    if (!this.complete) await pause(AT_LEAST, signal);
  }
}

function rank(classes) {
  return Object.entries(classes).sort(([a, n], [b, m]) => m - n || a.localeCompare(b));
}

function progress({ frames, state }) {
  if (state === "queued") return "It waits to be decoded.";
  const of = frames.total ? ` of ${count(frames.total)}` : "";
  return `${some(frames.counted + frames.failed, "frame")}${of} looked at, ${count(frames.decoded)} decoded`;
}

const downloads = {
  csv: { path: (id) => `/videos/${id}/detections`, accept: "text/csv", ending: ".csv" },
  ndjson: { path: (id) => `/videos/${id}/detections`, accept: "application/x-ndjson", ending: ".ndjson" },
  text: { path: (id) => `/videos/${id}/summary`, accept: "text/plain", ending: ".txt" },
  json: { path: (id) => `/videos/${id}/summary`, accept: "application/json", ending: ".json" },
};

/** A plain link can show no token and choose no format. */
async function save(event) {
  const link = event.target.closest("a");
  if (!link || !opened?.video) return;
  event.preventDefault();
  const { path, accept, ending } = downloads[link.dataset.kind];
  const { id, name } = opened.video;
  link.ariaDisabled = "true";
  try {
    const response = await ask(path(id), { headers: { accept } });
    const href = URL.createObjectURL(await response.blob());
    element("a", { href, download: name.replace(/\.[^.]*$/, "") + ending }).click();
    setTimeout(() => URL.revokeObjectURL(href), 60000);
  } catch (problem) {
    complain(problem.message);
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
    await ask(`/videos/${id}`, { method: "DELETE" });
    say(`${video.name} is being stopped`);
  } catch (problem) {
    complain(problem.message);
  }
}

/** Opens a video, or none. */
export function open(id) {
  if (opened?.id === id) return;
  opened?.close();
  line.clear();
  stills.clear();
  $("alarms-card").hidden = true;
  $("class").replaceChildren();
  $("video").hidden = true;
  $("empty").hidden = Boolean(id);
  document.title = "Moliceiro";
  opened = id ? new Opened(id) : null;
  opened?.follow();
}

/** True while a video is shown that is still being counted. */
export const isBusy = () => Boolean(opened && !(opened.video && isOver(opened.video)));

export function start() {
  line.start();
  $("curl").textContent = `curl -F 'video=@street.mp4' ${location.origin}`;
  $("cancel").addEventListener("click", cancel);
  $("downloads").addEventListener("click", save);
  $("class").addEventListener("change", ({ target }) => {
    opened.label = target.value;
    opened.drawLine();
  });
}

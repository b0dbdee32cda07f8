// What was found in the frames of a video: how many of each class, and when.

import { ask, lines } from "./api.js";

export class Detections {
  /** The frames that were looked at, in their order. */
  frames = [];
  /** When each of them is shown, in seconds; null if that is not known of all. */
  times = null;
  /** The objects of the frames that are to be drawn. */
  drawn = new Map();
  #counts = new Map();

  /** Reads what is known now. Of a long video that is much: of frames that are not to be drawn, nothing but the counts stays. */
  static async load(id, drawn, signal) {
    const rows = [];
    const detections = new Detections();
    const response = await ask(`/videos/${id}/frames`, { headers: { accept: "application/x-ndjson" }, signal });
    for await (const line of lines(response)) {
      const { frame, time_s: time, objects } = JSON.parse(line);
      rows.push([frame, time]);
      detections.#count(frame, objects);
      if (drawn.includes(frame)) detections.drawn.set(frame, objects);
    }
    rows.sort(([a], [b]) => a - b);
    detections.frames = rows.map(([frame]) => frame);
    const times = rows.map(([, time]) => time);
    if (times.every((time, n) => time !== null && time >= (times[n - 1] ?? time))) detections.times = times;
    return detections;
  }

  #count(frame, objects) {
    for (const { label } of objects) {
      const frames = this.#counts.get(label) ?? new Map();
      this.#counts.set(label, frames.set(frame, (frames.get(frame) ?? 0) + 1));
    }
  }

  /** How many objects of a class are in each of the frames. */
  series(label) {
    const counts = this.#counts.get(label);
    return this.frames.map((frame) => counts?.get(frame) ?? 0);
  }
}

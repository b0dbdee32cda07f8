// The objects in the frames of a video: how many of each class, and when.

import { request, lines } from "./api.js";

export class Detections {
  /** The analysed frames, in order. */
  frames = [];
  /** The presentation time of each of them, in seconds; null unless all are known. */
  times = null;
  /** The objects of the frames that have a thumbnail. */
  drawn = new Map();
  #counts = new Map();

  /** Loads the frames analysed so far. To save memory, only frames in `drawn` keep more than their counts. */
  static async load(id, drawn, signal) {
    const rows = [];
    const detections = new Detections();
    const response = await request(`/videos/${id}/frames`, { headers: { accept: "application/x-ndjson" }, signal });
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

  /** The number of objects of a class in each frame. */
  series(label) {
    const counts = this.#counts.get(label);
    return this.frames.map((frame) => counts?.get(frame) ?? 0);
  }
}

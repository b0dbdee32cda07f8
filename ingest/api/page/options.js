// What to count: the fields of an upload's options.

import { $, element } from "./dom.js";
import { requestJson } from "./api.js";

const lines = (text, separator) => text.split(separator).map((part) => part.trim()).filter(Boolean);

export class Options {
  #fields;

  /** Adds the fields to an element. `every` is a field that exists already. */
  constructor(parent, every) {
    parent.append($("option-fields").content.cloneNode(true));
    this.#fields = { every };
    for (const field of parent.querySelectorAll("[name]")) this.#fields[field.name] = field;
    this.#fields.model.addEventListener("focus", suggestModels);
  }

  /** True if the fields are valid; otherwise, the browser shows what is not. */
  check() {
    return Object.values(this.#fields).every((field) => field.reportValidity());
  }

  /** The options that are set, as JSON for an upload. */
  read() {
    const { every, fps, start, end, track, deinterlace, still, keys, model, labels, alarms, lines: places, zones } =
      this.#fields;
    const options = {};
    if (every.value) options.every = every.valueAsNumber;
    if (fps.value) options.fps = fps.valueAsNumber;
    if (start.value.trim()) options.start = start.value.trim();
    if (end.value.trim()) options.end = end.value.trim();
    if (track.value) options.video_track = track.valueAsNumber;
    if (deinterlace.value) options.deinterlace = deinterlace.value;
    if (still.value) options.skip_still = still.value === "true";
    if (keys.value) options.key_frames = keys.value === "true";
    const models = lines(model.value, ",");
    if (models.length === 1) [options.model] = models;
    if (models.length > 1) options.models = models;
    const classes = lines(labels.value, ",");
    if (classes.length) options.labels = classes;
    for (const [name, field] of Object.entries({ lines: places, zones })) {
      const texts = lines(field.value, "\n");
      if (texts.length) options[name] = texts;
    }
    const rules = lines(alarms.value, "\n");
    if (rules.length) options.alarms = rules;
    return options;
  }

  /** Sets the lines and zones. */
  place(places, zones) {
    this.#fields.lines.value = places.join("\n");
    this.#fields.zones.value = zones.join("\n");
  }

  /** Shows the options that a video was counted with. */
  fill(video) {
    const { every, fps, start, end, video_track: track, deinterlace, model, labels, rules, lines: places, zones } = video;
    // The server refuses both.
    this.#fields.every.value = fps ? "" : every;
    this.#fields.fps.value = fps ?? "";
    this.#fields.start.value = start ?? "";
    this.#fields.end.value = end ?? "";
    this.#fields.track.value = track ?? "";
    this.#fields.deinterlace.value = deinterlace ?? "";
    this.#fields.still.value = String(video.skip_still);
    this.#fields.keys.value = String(video.key_frames);
    this.#fields.model.value = model?.name ?? "";
    this.#fields.labels.value = labels.join(", ");
    this.place(places, zones);
    this.#fields.alarms.value = (rules ?? []).join("\n");
  }
}

/** The names of models, to choose from. */
async function suggestModels() {
  const { models } = await requestJson("/models").catch(() => ({ models: [] }));
  $("models").replaceChildren(...models.map(({ model }) => element("option", { value: model })));
}

/** The options as a query. */
export function query(options) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(options)) {
    for (const one of [value].flat()) query.append(name, one);
  }
  return query;
}

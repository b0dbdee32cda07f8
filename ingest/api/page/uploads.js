// Uploads: a few files at a time, each with its progress and retries.

import { $, showError, element, announce, size } from "./dom.js";
import { Problem, askForToken, authorization, pause } from "./api.js";
import { Options, query } from "./options.js";

const AT_ONCE = 2;
const RETRIES = 5;

const waiting = [];
let sending = 0;
let accepted = () => {};
let options = null;
/** The files of this tab's uploads, by video: references, not their bytes. */
const files = new Map();

class Upload {
  constructor(file, asked, name) {
    this.file = file;
    this.query = query({ name, ...asked });
    // With the same key, a retry never becomes a second video.
    this.key = Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
    this.bar = element("progress", { max: 1, value: 0, ariaLabel: `Upload of ${file.name}` });
    this.text = element("span", { className: "detail faint", textContent: `${size(file.size)}, waiting` });
    this.retry = element("button", { type: "button", className: "quiet", textContent: "Retry", hidden: true, onclick: () => this.queue() });
    this.drop = element("button", { type: "button", className: "quiet", textContent: "Cancel", ariaLabel: `Cancel the upload of ${file.name}`, onclick: () => this.cancel() });
    const buttons = element("span", { className: "buttons" }, this.retry, this.drop);
    this.row = element("li", {}, element("span", { className: "name", textContent: file.name }), buttons, this.bar, this.text);
    $("uploads").append(this.row);
    this.queue();
  }

  queue() {
    this.retry.hidden = true;
    this.bar.hidden = false;
    this.text.classList.remove("failed");
    this.cancelled = new AbortController();
    waiting.push(this);
    next();
  }

  cancel() {
    this.cancelled.abort();
    this.row.remove();
    if (waiting.includes(this)) waiting.splice(waiting.indexOf(this), 1);
  }

  async run() {
    for (let attempt = 1; ; attempt += 1) {
      try {
        const video = await this.send();
        files.set(video.id, this.file);
        this.row.remove();
        announce(`${this.file.name} uploaded`);
        return accepted(video);
      } catch (problem) {
        if (this.cancelled.signal.aborted) return undefined;
        if (problem.status === 401 && (await askForToken())) continue;
        if (!problem.isTemporary || attempt === RETRIES) return this.fail(problem);
        this.text.textContent = `${problem.message} Retrying…`;
        await pause(1000 * (problem.retryAfter ?? attempt), this.cancelled.signal);
        if (this.cancelled.signal.aborted) return undefined;
      }
    }
  }

  fail(problem) {
    this.bar.hidden = true;
    this.retry.hidden = false;
    this.text.classList.add("failed");
    this.text.textContent = problem.message;
    this.drop.textContent = "Dismiss";
    this.drop.ariaLabel = `Dismiss ${this.file.name}`;
    showError(`${this.file.name}: ${problem.message}`);
  }

  /** XMLHttpRequest, because fetch does not report the progress of an upload. */
  send() {
    return new Promise((resolve, reject) => {
      const request = new XMLHttpRequest();
      request.open("POST", `/videos?${this.query}`);
      const headers = { "content-type": "application/octet-stream", "idempotency-key": this.key, ...authorization() };
      for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
      request.upload.addEventListener("progress", ({ loaded, total }) => {
        this.bar.value = total ? loaded / total : 0;
        this.text.textContent = loaded < total ? `${size(loaded)} of ${size(total)}` : "Sent; waiting for the server…";
      });
      request.addEventListener("load", () => {
        const { status, responseText } = request;
        if (status === 202) return resolve(JSON.parse(responseText));
        return reject(Problem.of(status, request.getResponseHeader("content-type"), responseText, request.getResponseHeader("retry-after")));
      });
      for (const end of ["error", "abort", "timeout"]) request.addEventListener(end, () => reject(Problem.unreachable()));
      this.cancelled.signal.addEventListener("abort", () => request.abort(), { once: true });
      request.send(this.file);
    });
  }
}

async function next() {
  if (sending >= AT_ONCE || !waiting.length) return;
  sending += 1;
  try {
    await waiting.shift().run();
  } finally {
    sending -= 1;
    next();
  }
}

/** Uploads a file. */
export function send(file, asked, name = file.name) {
  if (file.size === 0) showError(`${file.name} is empty, or a folder.`);
  else new Upload(file, asked, name);
}

/** The file of a video that was uploaded in this tab. */
export const fileOf = (id) => files.get(id);

function add(chosen) {
  if (!options.check()) return;
  for (const file of chosen) send(file, options.read());
}

/** Sets the lines and zones of the next upload, where they can be seen. */
export function usePlaces(lines, zones) {
  options.place(lines, zones);
  $("options").closest("details").open = true;
}

/** Calls `whenAccepted` with each video that the server has accepted. */
export function start(whenAccepted) {
  accepted = whenAccepted;
  options = new Options($("options"), $("every"));
  $("files").addEventListener("change", ({ target }) => {
    add([...target.files]);
    target.value = "";
  });
  const carriesFiles = (event) => event.dataTransfer?.types.includes("Files");
  document.addEventListener("dragover", (event) => {
    if (!carriesFiles(event)) return;
    event.preventDefault();
    $("veil").hidden = false;
  });
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) $("veil").hidden = true;
  });
  document.addEventListener("drop", (event) => {
    $("veil").hidden = true;
    if (!carriesFiles(event)) return;
    event.preventDefault();
    add([...event.dataTransfer.files]);
  });
  addEventListener("beforeunload", (event) => {
    if (sending) event.preventDefault();
  });
}

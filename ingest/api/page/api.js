// The HTTP API: requests, problem details (RFC 9457), tokens, and server-sent events.

import { $ } from "./dom.js";

const TOKEN = "moliceiro.token";
const PAUSES = [500, 1000, 2000, 5000, 10000];

/** Why a request failed: an error response, or an unreachable server (status 0). */
export class Problem extends Error {
  constructor(status, text, retryAfter = null) {
    super(text);
    this.status = status;
    this.retryAfter = retryAfter;
  }

  static of(status, type, text, retryAfter) {
    let detail = `The server returned ${status}.`;
    if (type?.startsWith("application/problem+json")) {
      const problem = JSON.parse(text);
      detail = `${problem.title}: ${problem.detail}`;
    }
    return new Problem(status, detail, retryAfter ? Number(retryAfter) : null);
  }

  static unreachable() {
    return new Problem(0, "The server is unreachable.");
  }

  /** True if the same request may succeed later. */
  get isTemporary() {
    return [0, 429, 503].includes(this.status);
  }
}

export const pause = (milliseconds, signal) =>
  new Promise((resolve) => {
    if (signal?.aborted) return resolve();
    const timer = setTimeout(resolve, milliseconds);
    signal?.addEventListener("abort", () => (clearTimeout(timer), resolve()), { once: true });
  });

export function authorization() {
  const token = sessionStorage.getItem(TOKEN);
  return token === null ? {} : { authorization: `Bearer ${token}` };
}

let pendingToken = null;

/** Asks the user for a token. All requests without one wait for the same dialog. */
export function askForToken() {
  pendingToken ??= new Promise((resolve) => {
    const dialog = $("token-dialog");
    $("token-problem").hidden = sessionStorage.getItem(TOKEN) === null;
    $("token").value = "";
    dialog.addEventListener(
      "close",
      () => {
        if (dialog.returnValue === "ok") sessionStorage.setItem(TOKEN, $("token").value.trim());
        pendingToken = null;
        resolve(dialog.returnValue === "ok");
      },
      { once: true },
    );
    dialog.returnValue = "";
    dialog.showModal();
  });
  return pendingToken;
}

/** Sends a request and returns the response, or throws a Problem. */
export async function request(path, { headers = {}, ...options } = {}) {
  for (;;) {
    const sent = authorization();
    let response;
    try {
      response = await fetch(path, { ...options, headers: { accept: "application/json", ...headers, ...sent } });
    } catch (error) {
      throw options.signal?.aborted ? error : Problem.unreachable();
    }
    if (response.ok) return response;
    const { status, headers: answered } = response;
    const problem = Problem.of(status, answered.get("content-type"), await response.text(), answered.get("retry-after"));
    // Another request may have set a token in the meantime.
    const newer = authorization().authorization !== sent.authorization;
    if (status !== 401 || !(newer || (await askForToken()))) throw problem;
  }
}

export const requestJson = async (path, options) => (await request(path, options)).json();

/** The lines of a response as they arrive. */
export async function* lines(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) break;
    const parts = (rest + value).split("\n");
    rest = parts.pop();
    yield* parts;
  }
  if (rest) yield rest;
}

/** Server-sent events, over fetch: an EventSource cannot send a token. */
async function* events(path, signal) {
  const response = await request(path, { headers: { accept: "text/event-stream" }, signal });
  let kind = "message";
  let data = [];
  for await (const line of lines(response)) {
    const [field, value] = line.split(/: ?(.*)/s);
    if (field === "event") kind = value;
    if (field === "data") data.push(value);
    if (line === "") {
      if (data.length) yield { kind, data: JSON.parse(data.join("\n")) };
      [kind, data] = ["message", []];
    }
  }
}

/**
 * Follows a video until its summary. If the connection is lost it reconnects, and polls the video in the meantime.
 * Any event may be repeated.
 */
export async function follow(id, onEvent, signal) {
  for (let failures = 0; !signal.aborted; failures += 1) {
    try {
      for await (const { kind, data } of events(`/videos/${id}/events`, signal)) {
        failures = 0;
        onEvent(kind, data);
        if (kind === "summary") return;
      }
    } catch (problem) {
      if (signal.aborted) return;
      if (problem instanceof Problem && !problem.isTemporary) throw problem;
    }
    await pause(PAUSES[Math.min(failures, PAUSES.length - 1)], signal);
    if (failures > 0 && !signal.aborted) await poll(id, onEvent, signal);
  }
}

async function poll(id, onEvent, signal) {
  try {
    onEvent("video", await requestJson(`/videos/${id}`, { signal }));
  } catch (problem) {
    if (problem instanceof Problem && !problem.isTemporary) throw problem;
  }
}

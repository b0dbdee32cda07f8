// Counting a video again, with other options; and deleting what is stored of one.

import { $, announce, showError } from "./dom.js";
import { request, requestJson } from "./api.js";
import { Options } from "./options.js";
import * as uploads from "./uploads.js";

let options = null;

// Not a button of the form: the Enter key would press it.
$("again-close").addEventListener("click", () => $("again-dialog").close("no"));

/** Why the server cannot read a video again; null if it can. */
function unreadable({ id, uri }) {
  if (uri === `obj://uploads/${id}`) return "The server deletes an uploaded video once it is counted. Choose the file again.";
  if (uri.includes(":***@")) return "The server does not keep the password in the address of this video. Choose a file instead.";
  return null;
}

/** A window of a live source cannot be repeated. */
export const isRepeatable = ({ id }) => !/-w[0-9a-z]{7}$/.test(id);

/** Asks how to count a video again, and starts it. Calls `whenAccepted` with the new video. */
export async function again(video, whenAccepted) {
  const dialog = $("again-dialog");
  const known = uploads.fileOf(video.id);
  const reason = known ? null : unreadable(video);
  options ??= new Options($("again-options"), $("again-every"));
  options.fill(video);
  $("again-source").hidden = reason === null;
  $("again-reason").textContent = reason ?? "";
  $("again-file").value = "";
  $("again-file").required = reason !== null;
  $("again-problem").hidden = true;
  for (;;) {
    dialog.returnValue = "";
    dialog.showModal();
    await new Promise((resolve) => dialog.addEventListener("close", resolve, { once: true }));
    if (dialog.returnValue !== "yes") return;
    const [file] = reason ? $("again-file").files : [known];
    if (file) return uploads.send(file, options.read(), video.name);
    try {
      return whenAccepted(await repeat(video));
    } catch (problem) {
      $("again-problem").textContent = problem.message;
      $("again-problem").hidden = false;
    }
  }
}

function repeat({ uri, name }) {
  const body = JSON.stringify({ uri, name, ...options.read() });
  return requestJson("/videos", { method: "POST", headers: { "content-type": "application/json" }, body });
}

/** Asks whether to delete what is stored of a video, and deletes it. */
export async function forget({ id, name }, whenDeleted) {
  const dialog = $("delete-dialog");
  dialog.returnValue = "";
  dialog.showModal();
  await new Promise((resolve) => dialog.addEventListener("close", resolve, { once: true }));
  if (dialog.returnValue !== "yes") return;
  try {
    await request(`/videos/${id}?forget=true`, { method: "DELETE" });
    announce(`${name} deleted`);
    whenDeleted();
  } catch (problem) {
    showError(problem.message);
  }
}

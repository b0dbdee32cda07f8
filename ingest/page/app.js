// The page: what is chosen is in the address, so that it can be sent to somebody, and the browser's way back works.

import * as detail from "./detail.js";
import { $ } from "./dom.js";
import * as uploads from "./uploads.js";
import * as videos from "./videos.js";

const chosen = () => decodeURIComponent(location.hash.slice(1)).replace(/[^A-Za-z0-9_-]/g, "");

function open() {
  videos.select(chosen());
  detail.open(chosen());
}

detail.start();
uploads.start((video) => {
  videos.refresh();
  if (!detail.isBusy()) location.hash = video.id;
});
addEventListener("hashchange", open);
// The address belongs to the video: this link is not to change it.
$("skip").addEventListener("click", (event) => {
  event.preventDefault();
  $("detail").focus();
});
open();
videos.start((listed) => {
  if (chosen() || !listed.length) return;
  // Whoever comes without an address sees the newest.
  history.replaceState(null, "", `#${listed[0].id}`);
  open();
});

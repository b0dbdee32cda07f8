// The page. The selected video is in the address, so that links to it and the back button work.

import * as detail from "./detail.js";
import { $ } from "./dom.js";
import * as uploads from "./uploads.js";
import * as videos from "./videos.js";

const selected = () => decodeURIComponent(location.hash.slice(1)).replace(/[^A-Za-z0-9_-]/g, "");

function open() {
  videos.select(selected());
  detail.open(selected());
}

function accepted(video) {
  videos.refresh();
  if (!detail.isBusy()) location.hash = video.id;
}

detail.start(accepted);
uploads.start(accepted);
addEventListener("hashchange", open);
// The address is for the video: this link must not change it.
$("skip").addEventListener("click", (event) => {
  event.preventDefault();
  $("detail").focus();
});
open();
videos.start((listed) => {
  if (selected() || !listed.length) return;
  // Without a video in the address, show the newest.
  history.replaceState(null, "", `#${listed[0].id}`);
  open();
});

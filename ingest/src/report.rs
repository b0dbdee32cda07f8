//! What happens, said and counted in one place, so that the log and the metrics cannot disagree.

use std::sync::LazyLock;
use std::time::Duration;

use async_nats::Error as NatsError;
use moliceiro_decode::DecodeEvent;
use moliceiro_nats::VideoId;
use moliceiro_nats::messages::{MalformedUpload, Started};
use tracing::{debug, error, info, warn};

use crate::feed::Fed;
use crate::metrics::METRICS;

/// A video that this ingest has in hand, until it is dropped.
pub(crate) struct InHand(());

impl InHand {
    pub(crate) fn new() -> Self {
        METRICS.videos.inc();
        Self(())
    }
}

impl Drop for InHand {
    fn drop(&mut self) {
        METRICS.videos.dec();
    }
}

pub(crate) fn ready() {
    // What has not happened yet is shown as 0.
    LazyLock::force(&METRICS);
    info!("ingest is ready");
}

fn upload(outcome: &str) {
    METRICS.uploads.with_label_values(&[outcome]).inc();
}

pub(crate) fn upload_malformed(reason: &MalformedUpload) {
    upload("malformed");
    error!(%reason, "dropping a malformed upload message");
}

pub(crate) fn upload_cancelled(video: &VideoId) {
    upload("cancelled");
    info!(%video, "the video is cancelled");
}

pub(crate) fn upload_known(video: &VideoId) {
    upload("known");
    info!(%video, "nothing more of the video is to be published");
}

pub(crate) fn upload_handed_back(video: &VideoId) {
    upload("handed_back");
    info!(%video, "handing the video back");
}

pub(crate) fn upload_retried(video: Option<&VideoId>, reason: &str) {
    upload("retried");
    warn!(
        video = video.map(VideoId::as_str),
        reason, "an upload is not finished; it will be tried again"
    );
}

pub(crate) fn upload_not_acknowledged(video: Option<&VideoId>, error: &NatsError) {
    warn!(video = video.map(VideoId::as_str), %error, "cannot acknowledge an upload: it will come again, and change nothing");
}

pub(crate) fn decoding(video: &VideoId, started: &Started, first: u64) {
    info!(%video, name = started.name, uri = started.uri, first, "decoding");
}

pub(crate) fn all_published(video: &VideoId, Fed { frames, problem }: &Fed) {
    upload(match problem {
        None => "done",
        Some(_) if *frames == 0 => "failed",
        Some(_) => "incomplete",
    });
    info!(%video, frames, problem, "all frames are published");
}

pub(crate) fn decode_event(event: DecodeEvent) {
    match event {
        DecodeEvent::FrameDecoded => METRICS.decoded.inc(),
        DecodeEvent::LiveFrameDropped => METRICS.live_dropped.inc(),
    }
}

pub(crate) fn frame_published(video: &VideoId, frame: u64, bytes: usize, took: Duration) {
    METRICS.published.inc();
    METRICS.published_bytes.inc_by(bytes as u64);
    METRICS.publish_seconds.observe(took.as_secs_f64());
    debug!(%video, frame, bytes, "frame published");
}

pub(crate) fn live_connection_lost(video: &VideoId, reason: &str, pause: Duration) {
    METRICS.live_lost.inc();
    warn!(%video, reason, ?pause, "a live source is out of reach; connecting again");
}

pub(crate) fn frame_lost(video: &VideoId, frame: u64, reason: &str) {
    METRICS.lost.inc();
    warn!(%video, frame, reason, "a picture cannot be decoded");
}

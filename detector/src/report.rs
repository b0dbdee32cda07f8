//! What happens, said and counted in one place, so that the log and the metrics cannot disagree.

use std::time::{Duration, SystemTime};

use async_nats::jetstream::Message;
use moliceiro_nats::VideoId;
use moliceiro_nats::dead::FrameIdentity;
use moliceiro_nats::messages::{Detection, Failed};
use moliceiro_nats::publish::StoreError;
use tracing::{debug, info, warn};

use crate::metrics::METRICS;
use moliceiro_vision::Phases;

/// A frame that this detector works on, until it is dropped.
pub(crate) struct InHand(());

impl InHand {
    pub(crate) fn new() -> Self {
        METRICS.in_hand.inc();
        Self(())
    }
}

impl Drop for InHand {
    fn drop(&mut self) {
        METRICS.in_hand.dec();
    }
}

fn frame(outcome: &str) {
    METRICS.frames.with_label_values(&[outcome]).inc();
}

pub(crate) fn ready(sessions: usize, model: &str, runtime: &str) {
    METRICS.sessions.set(i64::try_from(sessions).unwrap_or(i64::MAX));
    METRICS.model.with_label_values(&[model, runtime]).set(1);
    info!(sessions, model, runtime, "detector is ready");
}

pub(crate) fn pulled(frames: usize) {
    METRICS.pull_frames.observe(frames as f64);
}

pub(crate) fn frame_pulled(message: &Message) {
    METRICS.pulled.inc();
    if let Ok(info) = message.info() {
        if info.delivered > 1 {
            METRICS.redelivered.inc();
        }
        // Clocks that differ may give less than nothing.
        let waited = SystemTime::now().duration_since(info.published.into()).unwrap_or_default();
        METRICS.queue_seconds.observe(waited.as_secs_f64());
    }
}

pub(crate) fn looked_at(phases: &Phases, detections: &[Detection]) {
    let Phases { payload, tensor, inference, boxes } = phases;
    for (phase, took) in
        [("payload", payload), ("tensor", tensor), ("inference", inference), ("boxes", boxes)]
    {
        METRICS.phase_seconds.with_label_values(&[phase]).observe(took.as_secs_f64());
    }
    METRICS.frame_seconds.observe(phases.total().as_secs_f64());
    for detection in detections {
        METRICS.detections.with_label_values(&[&detection.label]).inc();
    }
}

pub(crate) fn frame_done(
    video: &VideoId,
    index: u64,
    found: usize,
    processing_us: u64,
    store: Duration,
) {
    frame("done");
    METRICS.store_seconds.observe(store.as_secs_f64());
    debug!(%video, frame = index, processing_us, found, "frame done");
}

pub(crate) fn frame_retried(video: &VideoId, index: u64, reason: &str, deliveries: u64) {
    frame("retried");
    warn!(%video, frame = index, reason, deliveries, "a frame failed; trying again");
}

pub(crate) fn frame_dead(video: &VideoId, failed: &Failed) {
    frame("dead");
    warn!(%video, frame = failed.index, reason = failed.reason, deliveries = failed.deliveries, "giving up a frame");
}

pub(crate) fn result_not_stored(of: Option<&FrameIdentity>, error: &StoreError) {
    frame("retried");
    let (video, frame) = (of.map(|of| of.video.as_str()), of.map(|of| of.index));
    warn!(video, frame, %error, "a frame's result cannot be stored");
}

pub(crate) fn no_frame(subject: &str) {
    frame("malformed");
    warn!(subject, "dropping a message from the frame queue that is no frame");
}

pub(crate) fn frame_left(video: &VideoId, index: u64) {
    frame("left");
    warn!(%video, frame = index, "this detector broke down; leaving the frame to others");
}

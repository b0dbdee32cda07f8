//! What happens, said and counted in one place, so that the log and the metrics cannot disagree.

use std::sync::LazyLock;
use std::time::Duration;

use moliceiro_nats::VideoId;
use moliceiro_nats::dead::FrameIdentity;
use moliceiro_nats::messages::{Alarm, Event, Summary, VideoEvent, VideoState, milliseconds_now};
use tracing::{debug, info, warn};

use crate::entries::EntryError;
use crate::metrics::METRICS;

fn result(outcome: &str) {
    METRICS.results.with_label_values(&[outcome]).inc();
}

pub(crate) fn ready() {
    // What has not happened yet is shown as 0.
    LazyLock::force(&METRICS);
    info!("aggregator is ready");
}

pub(crate) fn batch(results: usize) {
    METRICS.batch_results.observe(results as f64);
}

pub(crate) fn counted(event: &VideoEvent) {
    result("counted");
    if let Event::Frame(frame) = &event.event
        && let Some(decoded_at) = frame.decoded_at
    {
        METRICS.latency_seconds.observe(milliseconds_now().saturating_sub(decoded_at) as f64 / 1e3);
    }
}

pub(crate) fn duplicate() {
    result("duplicate");
}

pub(crate) fn late(event: &VideoEvent, reason: &str) {
    result("late");
    let frame = match &event.event {
        Event::Frame(frame) => Some(frame.index),
        Event::Failed(failed) => Some(failed.index),
        _ => None,
    };
    warn!(video = %event.video, frame, event = ?event.event, reason, "dropping a result");
}

pub(crate) fn retried() {
    result("retried");
}

pub(crate) fn malformed(subject: &str, error: &str) {
    result("malformed");
    warn!(subject, error, "dropping a malformed result");
}

pub(crate) fn state_written(video: &VideoId, took: Duration, outcome: Result<(), &EntryError>) {
    METRICS.write_seconds.observe(took.as_secs_f64());
    let label = match outcome {
        Ok(()) => "written",
        Err(EntryError::Conflict) => {
            debug!(%video, "another aggregator was first; counting on from its totals");
            "conflict"
        }
        Err(_) => "failed",
    };
    METRICS.writes.with_label_values(&[label]).inc();
}

pub(crate) fn alarm(alarm: &Alarm) {
    METRICS.alarms.inc();
    info!(video = %alarm.video, frame = alarm.frame, rule = %alarm.rule, count = alarm.count, "alarm");
}

pub(crate) fn summary(summary: &Summary) {
    METRICS.finished.with_label_values(&[summary.state.name()]).inc();
    let (video, name) = (&summary.video, &summary.name);
    let problem = summary.problem.as_deref().unwrap_or_default();
    match summary.state {
        VideoState::Failed => warn!(%video, name, problem, "video failed"),
        VideoState::Incomplete => {
            warn!(%video, name, problem, frames = summary.processed_frames, "video is incomplete")
        }
        VideoState::Cancelled => {
            info!(%video, name, problem, frames = summary.processed_frames, "video is cancelled")
        }
        _ => {
            info!(%video, name, frames = summary.processed_frames, failed = summary.failed_frames, "video is done")
        }
    }
    if summary.models.len() > 1 {
        warn!(%video, name, models = ?summary.models, "detectors looked at one video with different models: its counts depend on which frame went to which");
    }
}

pub(crate) fn frame_given_up(frame: &FrameIdentity, reason: &str) {
    METRICS.dead.inc();
    info!(video = %frame.video, frame = frame.index, reason, "giving up a frame");
}

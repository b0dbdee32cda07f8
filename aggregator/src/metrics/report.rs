//! What happens, logged and counted in one place, so that the log and the metrics cannot disagree.

use std::error::Error;
use std::time::Duration;

use moliceiro_nats::VideoId;
use moliceiro_nats::dead::FrameIdentity;
use moliceiro_nats::messages::{
    Alarm, Event, Repair, Summary, TrackRecord, VideoEvent, VideoState, VideoTrack,
    milliseconds_now,
};
use tracing::{debug, info, warn};

use super::{
    ASKED, CONFLICT, COUNTED, DUPLICATE, FAILED, LATE, LOST, MALFORMED, Metrics, RECOUNTED,
    RETRIED, WRITTEN,
};

/// How a write of a video's entry ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WriteOutcome {
    Written,
    /// Another aggregator wrote it first.
    Conflict,
    Failed,
}

impl Metrics {
    pub(crate) fn ready(&self) {
        info!("aggregator is ready");
    }

    pub(crate) fn batch(&self, results: usize) {
        self.batch_results.observe(results as f64);
    }

    fn result(&self, outcome: &str) {
        self.results.with_label_values(&[outcome]).inc();
    }

    pub(crate) fn counted(&self, event: &VideoEvent) {
        self.result(COUNTED);
        if let Event::Frame(frame) = &event.event
            && let Some(decoded_at) = frame.decoded_at
        {
            let milliseconds = milliseconds_now().saturating_sub(decoded_at);
            self.latency_seconds.observe(milliseconds as f64 / 1e3);
        }
    }

    pub(crate) fn duplicate(&self) {
        self.result(DUPLICATE);
    }

    pub(crate) fn retried(&self) {
        self.result(RETRIED);
    }

    pub(crate) fn late(&self, event: &VideoEvent, reason: &str) {
        self.result(LATE);
        let frame = match &event.event {
            Event::Frame(frame) => Some(frame.index),
            Event::Failed(failed) => Some(failed.index),
            _ => None,
        };
        warn!(video = %event.video, frame, event = ?event.event, reason, "dropping a result");
    }

    pub(crate) fn malformed(&self, subject: &str, error: &dyn Error) {
        self.result(MALFORMED);
        warn!(subject, %error, "dropping a malformed result");
    }

    pub(crate) fn entry_written(&self, video: &VideoId, took: Duration, outcome: WriteOutcome) {
        self.write_seconds.observe(took.as_secs_f64());
        let label = match outcome {
            WriteOutcome::Written => WRITTEN,
            WriteOutcome::Conflict => {
                debug!(%video, "another aggregator wrote first; continuing from its totals");
                CONFLICT
            }
            WriteOutcome::Failed => FAILED,
        };
        self.writes.with_label_values(&[label]).inc();
    }

    pub(crate) fn alarm(&self, alarm: &Alarm) {
        self.alarms.inc();
        info!(
            video = %alarm.video,
            frame = alarm.frame,
            rule = %alarm.rule,
            count = alarm.count,
            "alarm"
        );
    }

    /// A finished track is published.
    pub(crate) fn track(&self, track: &VideoTrack) {
        let TrackRecord { label, lines, .. } = &track.track;
        self.tracks.with_label_values(&[label]).inc();
        for crossed in lines {
            let direction = crossed.direction.to_string();
            self.crossings.with_label_values(&[label, &direction]).inc();
        }
    }

    pub(crate) fn summary(&self, summary: &Summary) {
        self.finished.with_label_values(&[summary.state.name()]).inc();
        let (video, name) = (&summary.video, &summary.name);
        let (frames, failed) = (summary.processed_frames, summary.failed_frames);
        let problem = summary.problem.as_deref().unwrap_or_default();
        match summary.state {
            VideoState::Failed => warn!(%video, name, problem, "video failed"),
            VideoState::Incomplete => {
                warn!(%video, name, problem, frames, "video is incomplete");
            }
            VideoState::Cancelled => {
                info!(%video, name, problem, frames, "video is cancelled");
            }
            _ => info!(%video, name, frames, failed, "video is done"),
        }
        if summary.models.len() > 1 {
            warn!(
                %video,
                name,
                models = ?summary.models,
                "detectors analysed one video with different models: \
                 its counts depend on which detector received which frame"
            );
        }
    }

    pub(crate) fn recounted(&self, video: &VideoId) {
        self.repairs.with_label_values(&[RECOUNTED]).inc();
        warn!(%video, "a video had results that its entry did not contain: counted them");
    }

    pub(crate) fn repair_asked(&self, video: &VideoId, repair: &Repair, missing: u64) {
        self.repairs.with_label_values(&[ASKED]).inc();
        let (round, first) = (repair.round, repair.first());
        warn!(
            %video, round, missing, first,
            "something of a video was lost: its source is decoded again"
        );
    }

    pub(crate) fn frames_lost(&self, video: &VideoId, reason: &str) {
        self.repairs.with_label_values(&[LOST]).inc();
        warn!(%video, reason, "frames of a video were lost, and are not decoded again");
    }

    pub(crate) fn frame_given_up(&self, frame: &FrameIdentity, reason: &str) {
        self.dead_frames.inc();
        info!(video = %frame.video, frame = frame.index, reason, "giving up a frame");
    }
}

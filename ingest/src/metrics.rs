//! The ingest's metrics: every name is here, and each is counted where its log line is written.

use std::time::Duration;

use async_nats::Error as NatsError;
use moliceiro_decode::DecodeEvent;
use moliceiro_nats::VideoId;
use moliceiro_nats::messages::{MalformedUpload, Skipped, Started};
use moliceiro_service::metrics::{Catalogue, Described, WAITING_SECONDS};
use prometheus::{Histogram, IntCounter, IntCounterVec, IntGauge};
use tracing::{debug, error, info, warn};

use crate::published::Published;

/// The label values of [`Metrics::uploads`].
const OUTCOMES: [&str; 9] = [
    "done",
    "incomplete",
    "failed",
    "cancelled",
    "known",
    "malformed",
    "handed_back",
    "retried",
    "repaired",
];

/// The label values of [`Metrics::skipped`].
const REASONS: [&str; 5] = ["still", "every", "fps", "before_start", "not_key"];

/// What one ingest counts.
#[derive(Debug)]
pub struct Metrics {
    uploads: IntCounterVec,
    videos: IntGauge,
    decoded: IntCounter,
    skipped: IntCounterVec,
    lost: IntCounter,
    live_dropped: IntCounter,
    live_lost: IntCounter,
    published: IntCounter,
    published_bytes: IntCounter,
    publish_seconds: Histogram,
}

impl Metrics {
    /// Registers the metrics. What has not happened yet is exported as 0.
    pub fn new(catalogue: &mut Catalogue) -> Self {
        Self {
            uploads: catalogue.counters(
                "moliceiro_ingest_uploads_total",
                "Uploads taken from the queue, by outcome: done, all frames published; \
                 incomplete, some; failed, none; cancelled, its video was cancelled; known, \
                 published before; malformed, not an upload; handed_back, returned to the queue \
                 for another ingest; retried, to be tried again; repaired, frames that were lost \
                 were decoded again",
                ("outcome", &OUTCOMES),
            ),
            videos: catalogue.gauge("moliceiro_ingest_videos", "Videos being decoded now"),
            decoded: catalogue.counter(
                "moliceiro_ingest_frames_decoded_total",
                "Frames decoded, whether selected or not",
            ),
            skipped: catalogue.counters(
                "moliceiro_ingest_frames_skipped_total",
                "Frames that are not analysed, by the reason, as in summaries: still, they carry the \
                 objects of another frame; every, fps and before_start, they are not selected; \
                 not_key, they are not decoded. still is counted as frames are published, the others \
                 when all frames of their video or window are",
                ("reason", &REASONS),
            ),
            lost: catalogue.counter(
                "moliceiro_ingest_frames_lost_total",
                "Pictures of folders that cannot be decoded; each is a failed frame",
            ),
            live_dropped: catalogue.counter(
                "moliceiro_ingest_live_frames_dropped_total",
                "Frames of live sources dropped because the frames before them were not \
                 published yet",
            ),
            live_lost: catalogue.counter(
                "moliceiro_ingest_live_connections_lost_total",
                "Connections to live sources that were lost or could not be made; each is tried \
                 again",
            ),
            published: catalogue.counter(
                "moliceiro_ingest_frames_published_total",
                "Frames that the queue has acknowledged",
            ),
            published_bytes: catalogue.counter(
                "moliceiro_ingest_published_bytes_total",
                "Bytes of those frames' messages",
            ),
            publish_seconds: catalogue.histogram(
                "moliceiro_ingest_publish_seconds",
                "Time from a frame's first publish to its acknowledgement, back-pressure included",
                &WAITING_SECONDS,
            ),
        }
    }

    /// Counts a video as being ingested until the guard is dropped.
    pub(crate) fn in_flight(&self) -> InFlight<'_> {
        self.videos.inc();
        InFlight(&self.videos)
    }

    fn upload(&self, outcome: &str) {
        self.uploads.with_label_values(&[outcome]).inc();
    }

    pub(crate) fn upload_malformed(&self, reason: &MalformedUpload) {
        self.upload("malformed");
        error!(%reason, "dropping a malformed upload message");
    }

    pub(crate) fn upload_cancelled(&self, video: &VideoId) {
        self.upload("cancelled");
        info!(%video, "the video is cancelled");
    }

    pub(crate) fn upload_known(&self, video: &VideoId) {
        self.upload("known");
        info!(%video, "all frames of the video are published already");
    }

    pub(crate) fn upload_requeued(&self, video: &VideoId) {
        self.upload("handed_back");
        info!(%video, "returning the video to the queue");
    }

    pub(crate) fn upload_retried(&self, video: Option<&VideoId>, reason: &str) {
        self.upload("retried");
        let video = video.map(VideoId::as_str);
        warn!(video, reason, "an upload is not finished; it will be retried");
    }

    pub(crate) fn upload_not_acknowledged(&self, video: Option<&VideoId>, error: &NatsError) {
        let video = video.map(VideoId::as_str);
        warn!(
            video,
            %error,
            "cannot acknowledge an upload: it will be redelivered, and change nothing"
        );
    }

    pub(crate) fn decoding(&self, video: &VideoId, started: &Started, first: u64) {
        info!(%video, name = started.name, uri = started.uri, first, "decoding");
    }

    pub(crate) fn all_published(&self, video: &VideoId, Published { frames, problem }: &Published) {
        self.upload(match problem {
            None => "done",
            Some(_) if *frames == 0 => "failed",
            Some(_) => "incomplete",
        });
        info!(%video, frames, problem, "all frames are published");
    }

    /// Frames that were lost are published again.
    pub(crate) fn published_again(&self, video: &VideoId, round: u32, frames: u64) {
        self.upload("repaired");
        info!(%video, round, frames, "frames that were lost are published again");
    }

    /// Frames that were lost cannot be decoded again.
    pub(crate) fn unreadable_again(&self, video: &VideoId, round: u32, reason: &str) {
        self.upload("repaired");
        warn!(%video, round, reason, "frames that were lost cannot be decoded again");
    }

    pub(crate) fn decode_event(&self, event: DecodeEvent) {
        match event {
            DecodeEvent::FrameDecoded => self.decoded.inc(),
            DecodeEvent::LiveFrameDropped => self.live_dropped.inc(),
        }
    }

    pub(crate) fn frame_published(
        &self,
        video: &VideoId,
        frame: u64,
        bytes: usize,
        took: Duration,
    ) {
        self.published.inc();
        self.published_bytes.inc_by(bytes as u64);
        self.publish_seconds.observe(took.as_secs_f64());
        debug!(%video, frame, bytes, "frame published");
    }

    pub(crate) fn frames_skipped(&self, skipped: &Skipped) {
        let Skipped { still, every, fps, before_start, not_key, .. } = *skipped;
        for (reason, frames) in REASONS.into_iter().zip([still, every, fps, before_start, not_key])
        {
            self.skipped.with_label_values(&[reason]).inc_by(frames);
        }
    }

    pub(crate) fn live_connection_lost(&self, video: &VideoId, reason: &str, pause: Duration) {
        self.live_lost.inc();
        warn!(%video, reason, ?pause, "a live source is unavailable; reconnecting");
    }

    pub(crate) fn frame_lost(&self, video: &VideoId, frame: u64, reason: &str) {
        self.lost.inc();
        warn!(%video, frame, reason, "a picture cannot be decoded");
    }
}

/// A video being ingested.
pub(crate) struct InFlight<'a>(&'a IntGauge);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// What this service exports.
pub fn described() -> Vec<Described> {
    let mut catalogue = Catalogue::default();
    Metrics::new(&mut catalogue);
    catalogue.described().to_vec()
}

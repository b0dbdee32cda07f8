//! The ingest's metrics: every name is here.

use std::sync::LazyLock;

use moliceiro_service::metrics::{Catalogue, Described, WAITING_SECONDS};
use prometheus::{Histogram, IntCounter, IntCounterVec, IntGauge};

pub(crate) struct Metrics {
    catalogue: Catalogue,
    pub(crate) uploads: IntCounterVec,
    pub(crate) videos: IntGauge,
    pub(crate) decoded: IntCounter,
    pub(crate) lost: IntCounter,
    pub(crate) live_dropped: IntCounter,
    pub(crate) live_lost: IntCounter,
    pub(crate) published: IntCounter,
    pub(crate) published_bytes: IntCounter,
    pub(crate) publish_seconds: Histogram,
}

/// What can become of an upload that was taken from the queue.
const OUTCOMES: [&str; 8] =
    ["done", "incomplete", "failed", "cancelled", "known", "malformed", "handed_back", "retried"];

pub(crate) static METRICS: LazyLock<Metrics> = LazyLock::new(|| {
    let mut catalogue = Catalogue::default();
    Metrics {
        uploads: catalogue.counters(
            "moliceiro_ingest_uploads_total",
            "Uploads taken from the queue, by what became of them: done, all frames published; incomplete, some; failed, none; cancelled, \
             nobody wants them any more; \
             known, published before; malformed, no upload; handed_back, left to another ingest; retried, to be tried again",
            ("outcome", &OUTCOMES),
        ),
        videos: catalogue.gauge("moliceiro_ingest_videos", "Videos being decoded now"),
        decoded: catalogue.counter("moliceiro_ingest_frames_decoded_total", "Frames decoded, wanted or not"),
        lost: catalogue.counter("moliceiro_ingest_frames_lost_total", "Pictures of folders that cannot be decoded; each is a failed frame"),
        live_dropped: catalogue.counter(
            "moliceiro_ingest_live_frames_dropped_total",
            "Frames of live sources that were dropped because there was no room for them",
        ),
        live_lost: catalogue.counter(
            "moliceiro_ingest_live_connections_lost_total",
            "Connections to live sources that broke off, or could not be made; each is tried again",
        ),
        published: catalogue.counter("moliceiro_ingest_frames_published_total", "Frames that the queue has acknowledged"),
        published_bytes: catalogue.counter("moliceiro_ingest_published_bytes_total", "Bytes of those frames' messages"),
        publish_seconds: catalogue.histogram(
            "moliceiro_ingest_publish_seconds",
            "Time from a frame's first publish to its acknowledgement, waiting for room in the queue included",
            &WAITING_SECONDS,
        ),
        catalogue,
    }
});

/// What this service exports.
pub fn described() -> Vec<Described> {
    METRICS.catalogue.described().to_vec()
}

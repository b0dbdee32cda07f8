//! The detector's metrics: every name is here.

use std::sync::LazyLock;

use moliceiro_service::metrics::{Catalogue, Described, SECONDS, WAITING_SECONDS};
use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};

pub(crate) struct Metrics {
    catalogue: Catalogue,
    pub(crate) pulled: IntCounter,
    pub(crate) redelivered: IntCounter,
    pub(crate) frames: IntCounterVec,
    pub(crate) pull_frames: Histogram,
    pub(crate) in_hand: IntGauge,
    pub(crate) sessions: IntGauge,
    pub(crate) queue_seconds: Histogram,
    pub(crate) phase_seconds: HistogramVec,
    pub(crate) frame_seconds: Histogram,
    pub(crate) store_seconds: Histogram,
    pub(crate) detections: IntCounterVec,
    pub(crate) model: IntGaugeVec,
}

/// What can become of a frame that was pulled.
const OUTCOMES: [&str; 5] = ["done", "retried", "dead", "malformed", "left"];
/// The parts of the work on a frame, in order.
const PHASES: [&str; 4] = ["payload", "tensor", "inference", "boxes"];

pub(crate) static METRICS: LazyLock<Metrics> = LazyLock::new(|| {
    let mut catalogue = Catalogue::default();
    Metrics {
        pulled: catalogue.counter("moliceiro_detector_frames_pulled_total", "Frames taken from the queue"),
        redelivered: catalogue
            .counter("moliceiro_detector_frames_redelivered_total", "Frames taken from the queue that were handed out before"),
        frames: catalogue.counters(
            "moliceiro_detector_frames_total",
            "Frames by what became of them: done, the result is stored; retried, they go back to the queue; dead, they were \
             given up; malformed, they were no frames; left, this detector broke down",
            ("outcome", &OUTCOMES),
        ),
        pull_frames: catalogue.histogram(
            "moliceiro_detector_pull_frames",
            "Frames that one pull brought",
            &[0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0],
        ),
        in_hand: catalogue.gauge("moliceiro_detector_frames_in_hand", "Frames that are looked at, or wait for it, in this process"),
        sessions: catalogue.gauge("moliceiro_detector_sessions", "Frames that can be looked at at the same time"),
        queue_seconds: catalogue.histogram(
            "moliceiro_detector_queue_seconds",
            "Time from a frame's being stored in the queue to its being pulled, by the clocks of server and detector",
            &WAITING_SECONDS,
        ),
        phase_seconds: catalogue.histograms(
            "moliceiro_detector_phase_seconds",
            "Time of each part of the work on a frame: payload, CBOR and JPEG decoding; tensor, colour conversion and \
             normalisation; inference, the model; boxes, decoding its output and suppressing overlaps",
            ("phase", &PHASES),
            &SECONDS,
        ),
        frame_seconds: catalogue.histogram(
            "moliceiro_detector_frame_seconds",
            "Time of the whole work on a frame, without waiting",
            &SECONDS,
        ),
        store_seconds: catalogue.histogram(
            "moliceiro_detector_store_seconds",
            "Time from a result's first publish to its acknowledgement",
            &SECONDS,
        ),
        detections: catalogue.counters("moliceiro_detector_detections_total", "Objects found, by class", ("label", &[])),
        model: catalogue.gauges(
            "moliceiro_detector_model_info",
            "Always 1; the labels say which model and runtime are used",
            &["model", "runtime"],
        ),
        catalogue,
    }
});

/// What this service exports.
pub fn described() -> Vec<Described> {
    METRICS.catalogue.described().to_vec()
}

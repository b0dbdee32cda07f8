//! The aggregator's metrics, and those that it takes from JetStream: every name is here.

use std::sync::LazyLock;

use moliceiro_service::metrics::{Catalogue, Described, SECONDS, WAITING_SECONDS};
use prometheus::{Gauge, GaugeVec, Histogram, IntCounter, IntCounterVec, IntGaugeVec};

pub(crate) struct Metrics {
    catalogue: Catalogue,
    pub(crate) results: IntCounterVec,
    pub(crate) latency_seconds: Histogram,
    pub(crate) batch_results: Histogram,
    pub(crate) writes: IntCounterVec,
    pub(crate) write_seconds: Histogram,
    pub(crate) finished: IntCounterVec,
    pub(crate) alarms: IntCounter,
    pub(crate) dead: IntCounter,
    pub(crate) videos: IntGaugeVec,
    pub(crate) oldest_silence: Gauge,
    pub(crate) stream_messages: IntGaugeVec,
    pub(crate) stream_bytes: IntGaugeVec,
    pub(crate) stream_limit_bytes: IntGaugeVec,
    pub(crate) stream_fill: GaugeVec,
    pub(crate) stream_oldest_seconds: GaugeVec,
    pub(crate) consumer_pending: IntGaugeVec,
    pub(crate) consumer_ack_pending: IntGaugeVec,
    pub(crate) consumer_redelivered: IntGaugeVec,
    pub(crate) consumer_pulls: IntGaugeVec,
}

/// What can become of a result.
const RESULTS: [&str; 5] = ["counted", "duplicate", "late", "retried", "malformed"];
/// How a write of a video's state can end.
const WRITES: [&str; 3] = ["written", "conflict", "failed"];

pub(crate) static METRICS: LazyLock<Metrics> = LazyLock::new(|| {
    let mut catalogue = Catalogue::default();
    Metrics {
        results: catalogue.counters(
            "moliceiro_aggregator_results_total",
            "Events of videos, by what became of them: counted, they changed the totals; duplicate, they were in them; late, their \
             video or frame does not exist; retried, they come again; malformed, they were none",
            ("outcome", &RESULTS),
        ),
        latency_seconds: catalogue.histogram(
            "moliceiro_aggregator_latency_seconds",
            "Time from a frame's decoding to its being counted durably, by the clocks of ingest and aggregator",
            &WAITING_SECONDS,
        ),
        batch_results: catalogue.histogram(
            "moliceiro_aggregator_batch_results",
            "Events that were counted together",
            &[1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0],
        ),
        writes: catalogue.counters(
            "moliceiro_aggregator_state_writes_total",
            "Writes of a video's state: written; conflict, another aggregator was first; failed, the bucket was out of reach",
            ("outcome", &WRITES),
        ),
        write_seconds: catalogue.histogram("moliceiro_aggregator_state_write_seconds", "Time of one write of a video's state", &SECONDS),
        finished: catalogue.counters(
            "moliceiro_aggregator_videos_finished_total",
            "Summaries that this aggregator published, by the state of the video",
            ("state", &crate::gauges::FINAL_STATES),
        ),
        alarms: catalogue.counter("moliceiro_aggregator_alarms_total", "Alarms that this aggregator published"),
        dead: catalogue.counter(
            "moliceiro_aggregator_dead_frames_total",
            "Frames that ran out of deliveries and were given up for detectors that could not say so",
        ),
        videos: catalogue.gauges("moliceiro_videos", "Videos that are known, by state", &["state"]),
        oldest_silence: catalogue.fraction(
            "moliceiro_videos_longest_silence_seconds",
            "Time since the last news of the video in progress of which nothing was heard for longest; 0 if there is none",
        ),
        stream_messages: catalogue.gauges("moliceiro_stream_messages", "Messages in a stream", &["stream"]),
        stream_bytes: catalogue.gauges("moliceiro_stream_bytes", "Bytes in a stream", &["stream"]),
        stream_limit_bytes: catalogue.gauges("moliceiro_stream_limit_bytes", "Bytes that a stream may hold", &["stream"]),
        stream_fill: catalogue.fractions("moliceiro_stream_fill_ratio", "Share of its bytes that a stream holds, 0 to 1", &["stream"]),
        stream_oldest_seconds: catalogue.fractions(
            "moliceiro_stream_oldest_message_seconds",
            "Age of the oldest message in a stream; 0 if it is empty",
            &["stream"],
        ),
        consumer_pending: catalogue.gauges(
            "moliceiro_consumer_pending_messages",
            "Messages that wait to be handed out for the first time",
            &["stream", "consumer"],
        ),
        consumer_ack_pending: catalogue.gauges(
            "moliceiro_consumer_ack_pending_messages",
            "Messages that are handed out and not acknowledged",
            &["stream", "consumer"],
        ),
        consumer_redelivered: catalogue.gauges(
            "moliceiro_consumer_redelivered_messages",
            "Messages that are handed out for at least the second time and not acknowledged",
            &["stream", "consumer"],
        ),
        consumer_pulls: catalogue.gauges(
            "moliceiro_consumer_waiting_pulls",
            "Pulls that wait for messages now: 0 with messages pending means that nobody takes them",
            &["stream", "consumer"],
        ),
        catalogue,
    }
});

/// What this service exports.
pub fn described() -> Vec<Described> {
    METRICS.catalogue.described().to_vec()
}

//! The aggregator's metrics, and those that it reads from JetStream. Each name is here and nowhere
//! else. `metrics/report.rs` emits them together with log lines, `metrics/levels.rs` sets the
//! gauges.

mod levels;
pub(crate) mod report;

use moliceiro_nats::messages::{Direction, VideoState};
use moliceiro_service::metrics::{Catalogue, Described, SECONDS, WAITING_SECONDS};
use prometheus::{Gauge, GaugeVec, Histogram, IntCounter, IntCounterVec, IntGaugeVec};

/// What an aggregator measures. Each value has metrics of its own.
pub(crate) struct Metrics {
    results: IntCounterVec,
    latency_seconds: Histogram,
    batch_results: Histogram,
    writes: IntCounterVec,
    write_seconds: Histogram,
    finished: IntCounterVec,
    alarms: IntCounter,
    tracks: IntCounterVec,
    crossings: IntCounterVec,
    dead_frames: IntCounter,
    repairs: IntCounterVec,
    videos: IntGaugeVec,
    longest_silence: Gauge,
    stream_messages: IntGaugeVec,
    stream_bytes: IntGaugeVec,
    stream_limit_bytes: IntGaugeVec,
    stream_fill: GaugeVec,
    stream_oldest_seconds: GaugeVec,
    consumer_pending: IntGaugeVec,
    consumer_ack_pending: IntGaugeVec,
    consumer_redelivered: IntGaugeVec,
    consumer_pulls: IntGaugeVec,
    unserved_frames: IntGaugeVec,
    work_frames: IntGaugeVec,
    work_seconds: GaugeVec,
    detector_seconds: GaugeVec,
    frames_per_second: GaugeVec,
    detector_frames_per_second: GaugeVec,
    model_detectors: IntGaugeVec,
}

/// Values of `outcome` of `moliceiro_aggregator_results_total`.
const RESULT_OUTCOMES: [&str; 5] = [COUNTED, DUPLICATE, LATE, RETRIED, MALFORMED];
const COUNTED: &str = "counted";
const DUPLICATE: &str = "duplicate";
const LATE: &str = "late";
const RETRIED: &str = "retried";
const MALFORMED: &str = "malformed";

/// Values of `outcome` of `moliceiro_aggregator_state_writes_total`.
const WRITE_OUTCOMES: [&str; 3] = [WRITTEN, CONFLICT, FAILED];
const WRITTEN: &str = "written";
const CONFLICT: &str = "conflict";
const FAILED: &str = "failed";

/// Values of `outcome` of `moliceiro_aggregator_repairs_total`.
const REPAIR_OUTCOMES: [&str; 3] = [RECOUNTED, ASKED, LOST];
const RECOUNTED: &str = "recounted";
const ASKED: &str = "asked";
const LOST: &str = "lost";

impl Metrics {
    pub(crate) fn new(catalogue: &mut Catalogue) -> Self {
        let final_states: Vec<_> = VideoState::all_final().map(VideoState::name).collect();
        let (stream, consumer) = (["stream"], ["stream", "consumer"]);
        let metrics = Self {
            results: catalogue.counters(
                "moliceiro_aggregator_results_total",
                "Events of videos, by outcome: counted, it changed the totals; duplicate, the \
                 totals contained it; late, its video or frame does not exist; retried, it will \
                 be redelivered; malformed, it is not an event",
                ("outcome", &RESULT_OUTCOMES),
            ),
            latency_seconds: catalogue.histogram(
                "moliceiro_aggregator_latency_seconds",
                "Time from decoding a frame to storing totals that contain it, by the clocks of \
                 ingest and aggregator",
                &WAITING_SECONDS,
            ),
            batch_results: catalogue.histogram(
                "moliceiro_aggregator_batch_results",
                "Events in a batch",
                &[1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0],
            ),
            writes: catalogue.counters(
                "moliceiro_aggregator_state_writes_total",
                "Writes of a video's entry: written; conflict, another aggregator wrote first; \
                 failed, the bucket was unavailable or refused it",
                ("outcome", &WRITE_OUTCOMES),
            ),
            write_seconds: catalogue.histogram(
                "moliceiro_aggregator_state_write_seconds",
                "Duration of a write of a video's entry",
                &SECONDS,
            ),
            finished: catalogue.counters(
                "moliceiro_aggregator_videos_finished_total",
                "Summaries that this aggregator published, by the state of the video",
                ("state", &final_states),
            ),
            alarms: catalogue.counter(
                "moliceiro_aggregator_alarms_total",
                "Alarms that this aggregator published",
            ),
            tracks: catalogue.open_counters(
                "moliceiro_aggregator_tracks_total",
                "Finished tracks that this aggregator published, by class: different objects",
                &["class"],
            ),
            crossings: catalogue.open_counters(
                "moliceiro_aggregator_crossings_total",
                "Crossings of lines by the tracks that this aggregator published, by class and \
                 direction",
                &["class", "direction"],
            ),
            dead_frames: catalogue.counter(
                "moliceiro_aggregator_dead_frames_total",
                "Frames that ran out of deliveries and were dead-lettered on behalf of detectors \
                 that could not do it",
            ),
            repairs: catalogue.counters(
                "moliceiro_aggregator_repairs_total",
                "Videos that did not move any more, by what was done: recounted, results were \
                 counted that their entry did not contain; asked, frames that were lost are decoded \
                 again; lost, that is not possible, and they fail",
                ("outcome", &REPAIR_OUTCOMES),
            ),
            videos: catalogue.gauges("moliceiro_videos", "Known videos, by state", &["state"]),
            longest_silence: catalogue.fraction(
                "moliceiro_videos_longest_silence_seconds",
                "The longest time since the last event of a video in progress; 0 without one",
            ),
            stream_messages: catalogue.gauges(
                "moliceiro_stream_messages",
                "Messages in a stream",
                &stream,
            ),
            stream_bytes: catalogue.gauges("moliceiro_stream_bytes", "Bytes in a stream", &stream),
            stream_limit_bytes: catalogue.gauges(
                "moliceiro_stream_limit_bytes",
                "Bytes that a stream may hold",
                &stream,
            ),
            stream_fill: catalogue.fractions(
                "moliceiro_stream_fill_ratio",
                "Share of its bytes that a stream holds, 0 to 1",
                &stream,
            ),
            stream_oldest_seconds: catalogue.fractions(
                "moliceiro_stream_oldest_message_seconds",
                "Age of the oldest message in a stream; 0 if it is empty",
                &stream,
            ),
            consumer_pending: catalogue.gauges(
                "moliceiro_consumer_pending_messages",
                "Messages that were not delivered yet",
                &consumer,
            ),
            consumer_ack_pending: catalogue.gauges(
                "moliceiro_consumer_ack_pending_messages",
                "Messages that are delivered and not acknowledged",
                &consumer,
            ),
            consumer_redelivered: catalogue.gauges(
                "moliceiro_consumer_redelivered_messages",
                "Messages that are delivered at least twice and not acknowledged",
                &consumer,
            ),
            consumer_pulls: catalogue.gauges(
                "moliceiro_consumer_waiting_pulls",
                "Pulls that wait for messages now: 0 with messages pending means that nobody takes \
                 them",
                &consumer,
            ),
            unserved_frames: catalogue.gauges(
                "moliceiro_model_unserved_frames",
                "Frames that wait for a model that no detector serves; 0 if one does",
                &["model"],
            ),
            work_frames: catalogue.gauges(
                "moliceiro_model_work_frames",
                "Frames in the queue for a model, those in flight included",
                &["model"],
            ),
            work_seconds: catalogue.fractions(
                "moliceiro_model_work_seconds",
                "Seconds of work in the queue for a model at the present rate; +Inf if frames wait \
                 and none are finished",
                &["model"],
            ),
            detector_seconds: catalogue.fractions(
                "moliceiro_model_detector_seconds",
                "Seconds that one detector would take for the frames in the queue for a model: \
                 scale on it; 1 if there are any and no detector has been measured",
                &["model"],
            ),
            frames_per_second: catalogue.fractions(
                "moliceiro_model_frames_per_second",
                "Frames that the detectors of a model finish in a second, over ten seconds",
                &["model"],
            ),
            detector_frames_per_second: catalogue.fractions(
                "moliceiro_model_detector_frames_per_second",
                "Frames that one detector of a model could finish in a second; 0 until one has \
                 been measured",
                &["model"],
            ),
            model_detectors: catalogue.gauges(
                "moliceiro_model_detectors",
                "Detectors that serve a model",
                &["model"],
            ),
        };
        // Otherwise, the first person would not show in a rate.
        metrics.tracks.with_label_values(&["person"]);
        for direction in [Direction::In, Direction::Out] {
            metrics.crossings.with_label_values(&["person", &direction.to_string()]);
        }
        metrics
    }
}

/// What this service exports.
pub fn described() -> Vec<Described> {
    let mut catalogue = Catalogue::default();
    Metrics::new(&mut catalogue);
    catalogue.described().to_vec()
}

//! What the detector reports: every metric by its name, and the log line that belongs to it.

use std::fmt::Display;
use std::time::{Duration, SystemTime};

use async_nats::jetstream::Message;
use moliceiro_nats::dead::FrameIdentity;
use moliceiro_nats::messages::{Failed, ModelId};
use moliceiro_nats::publish::StoreError;
use moliceiro_service::metrics::{Catalogue, Described, SECONDS, WAITING_SECONDS};
use moliceiro_vision::Phases;
use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};
use tracing::{debug, error, info, warn};

use crate::analysis::{Analysis, AnalysisError, Hung};
use crate::rates::Rates;

/// The metrics of one detector. Each detector of a process has its own.
pub(crate) struct Metrics {
    pulled: IntCounter,
    redelivered: IntCounter,
    frames: IntCounterVec,
    pull_frames: Histogram,
    in_flight: IntGauge,
    sessions: IntGauge,
    hung: IntCounter,
    queue_seconds: Histogram,
    phase_seconds: HistogramVec,
    frame_seconds: Histogram,
    store_seconds: Histogram,
    detections: IntCounterVec,
    model: IntGaugeVec,
    not_loaded: IntCounter,
    /// What other programs get to know of this.
    rates: Rates,
}

/// What can become of a frame that was pulled.
const OUTCOMES: [&str; 5] = [DONE, RETRIED, DEAD, MALFORMED, LEFT];
const DONE: &str = "done";
const RETRIED: &str = "retried";
const DEAD: &str = "dead";
const MALFORMED: &str = "malformed";
const LEFT: &str = "left";

/// The steps of the work on a frame, in order.
const PHASES: [&str; 4] = ["payload", "tensor", "inference", "boxes"];

const PULL_FRAMES: [f64; 8] = [0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0];

/// A frame that this detector works on, until it is dropped.
pub(crate) struct InFlight(IntGauge);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// The metrics that a detector exports.
pub fn described() -> Vec<Described> {
    let mut catalogue = Catalogue::default();
    Metrics::new(&mut catalogue);
    catalogue.described().to_vec()
}

impl Metrics {
    pub fn new(catalogue: &mut Catalogue) -> Self {
        Self {
            pulled: catalogue
                .counter("moliceiro_detector_frames_pulled_total", "Frames taken from the queue"),
            redelivered: catalogue.counter(
                "moliceiro_detector_frames_redelivered_total",
                "Frames taken from the queue that were delivered before",
            ),
            frames: catalogue.counters(
                "moliceiro_detector_frames_total",
                "Frames by what became of them: done, the result is stored; retried, they go back \
                 to the queue; dead, they became dead letters; malformed, they were not frames; \
                 left, this detector broke down and left them to others",
                ("outcome", &OUTCOMES),
            ),
            pull_frames: catalogue.histogram(
                "moliceiro_detector_pull_frames",
                "Frames that one pull returned",
                &PULL_FRAMES,
            ),
            in_flight: catalogue.gauge(
                "moliceiro_detector_frames_in_hand",
                "Frames in flight: those that this detector analyses, and those that wait for it",
            ),
            sessions: catalogue.gauge(
                "moliceiro_detector_sessions",
                "Frames that can be analysed at the same time",
            ),
            hung: catalogue.counter(
                "moliceiro_detector_frames_hung_total",
                "Frames whose analysis did not end before detector.deadline; this detector ends \
                 then",
            ),
            queue_seconds: catalogue.histogram(
                "moliceiro_detector_queue_seconds",
                "Time from storing a frame in the queue to pulling it, by the clocks of server \
                 and detector",
                &WAITING_SECONDS,
            ),
            phase_seconds: catalogue.histograms(
                "moliceiro_detector_phase_seconds",
                "Time of each step of the work on a frame: payload, CBOR and JPEG decoding; \
                 tensor, colour conversion and normalisation; inference, the model; boxes, \
                 decoding its output and suppressing overlaps",
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
            detections: catalogue.counters(
                "moliceiro_detector_detections_total",
                "Objects found, by class",
                ("label", &[]),
            ),
            model: catalogue.gauges(
                "moliceiro_detector_model_info",
                "1 for each model that is loaded; the labels name it and the runtime",
                &["model", "runtime"],
            ),
            not_loaded: catalogue.counter(
                "moliceiro_detector_models_not_loaded_total",
                "Attempts to load a model that failed",
            ),
            rates: Rates::default(),
        }
    }

    pub fn ready(&self, sessions: usize, models: &[String], runtime: &str) {
        self.sessions.set(i64::try_from(sessions).unwrap_or(i64::MAX));
        let models = models.join(",");
        info!(sessions, models, runtime, "detector is ready");
    }

    /// The model is loaded, and frames are pulled for it.
    pub fn model_loaded(&self, model: &ModelId, runtime: &str) {
        self.model.with_label_values(&[model.to_string().as_str(), runtime]).set(1);
        self.rates.serve(model);
        info!(%model, "serving a model");
    }

    /// No more frames are pulled for the model.
    pub fn model_unloaded(&self, model: &ModelId, runtime: &str) {
        // It fails only for labels that were never set.
        self.model.remove_label_values(&[model.to_string().as_str(), runtime]).ok();
        self.rates.unload(model);
        info!(%model, "unloading a model");
    }

    /// The frames of the model wait for another detector, or for another attempt of this one.
    pub fn model_not_loaded(&self, model: &ModelId, error: &dyn Display) {
        self.not_loaded.inc();
        warn!(%model, %error, "a model is not loaded; its frames wait");
    }

    /// All frames of the model fail.
    pub fn model_unusable(&self, model: &ModelId, reason: &str) {
        self.not_loaded.inc();
        warn!(%model, reason, "a model cannot be used; its frames fail");
    }

    /// A pull ended, with this many frames.
    pub fn pulled(&self, frames: usize) {
        self.pull_frames.observe(frames as f64);
    }

    pub fn frame_pulled(&self, message: &Message) {
        self.pulled.inc();
        if let Ok(info) = message.info() {
            if info.delivered > 1 {
                self.redelivered.inc();
            }
            // Clocks that differ may make it negative.
            let waited =
                SystemTime::now().duration_since(info.published.into()).unwrap_or_default();
            self.queue_seconds.observe(waited.as_secs_f64());
        }
    }

    /// Counts a frame as in flight for as long as the guard lives.
    pub fn in_flight(&self) -> InFlight {
        self.in_flight.inc();
        InFlight(self.in_flight.clone())
    }

    pub fn rates(&self) -> &Rates {
        &self.rates
    }

    pub fn analysed(&self, model: &ModelId, analysis: &Analysis) {
        self.rates.analysed(model, analysis.phases.total());
        let Phases { payload, tensor, inference, boxes } = &analysis.phases;
        for (phase, took) in PHASES.iter().zip([payload, tensor, inference, boxes]) {
            self.phase_seconds.with_label_values(&[phase]).observe(took.as_secs_f64());
        }
        self.frame_seconds.observe(analysis.phases.total().as_secs_f64());
        for object in analysis.objects.counted() {
            self.detections.with_label_values(&[object.label]).inc();
        }
    }

    /// The frame's result is stored, which took `store`.
    pub fn frame_done(
        &self,
        frame: &FrameIdentity,
        objects: usize,
        processing_us: u64,
        store: Duration,
    ) {
        self.count(DONE);
        self.store_seconds.observe(store.as_secs_f64());
        debug!(video = %frame.video, frame = frame.index, processing_us, objects, "frame done");
    }

    pub fn frame_retried(&self, frame: &FrameIdentity, error: &AnalysisError, deliveries: u64) {
        self.count(RETRIED);
        warn!(
            video = %frame.video, frame = frame.index, reason = %error, deliveries,
            "a frame failed; trying again"
        );
    }

    pub fn frame_dead(&self, frame: &FrameIdentity, failed: &Failed) {
        self.count(DEAD);
        warn!(
            video = %frame.video, frame = frame.index,
            reason = failed.reason, deliveries = failed.deliveries,
            "giving up a frame"
        );
    }

    /// Neither a result nor a dead letter of the frame is stored.
    pub fn not_stored(&self, frame: &FrameIdentity, error: &StoreError) {
        self.count(RETRIED);
        warn!(
            video = %frame.video, frame = frame.index, %error,
            "cannot store the result of a frame"
        );
    }

    pub fn not_a_frame(&self, subject: &str) {
        self.count(MALFORMED);
        warn!(subject, "dropping a message from the frame queue that is not a frame");
    }

    pub fn frame_abandoned(&self, frame: &FrameIdentity) {
        self.count(LEFT);
        warn!(
            video = %frame.video, frame = frame.index,
            "this detector broke down; another will get the frame"
        );
    }

    /// The frame is tried by another detector, unless this was its last delivery.
    pub fn frame_hung(&self, hung: &Hung, deliveries: u64, last_delivery: bool) {
        self.hung.inc();
        if !last_delivery {
            self.count(RETRIED);
        }
        error!(deliveries, "{hung}: this detector ends");
    }

    fn count(&self, outcome: &str) {
        self.frames.with_label_values(&[outcome]).inc();
    }
}

#[cfg(test)]
mod tests {
    use prometheus::Registry;

    use super::*;

    #[test]
    fn two_detectors_in_one_process_have_figures_of_their_own() {
        let registries = [Registry::new(), Registry::new()];
        let [first, second] =
            registries.each_ref().map(|registry| Metrics::new(&mut Catalogue::new(registry)));
        let _in_flight = first.in_flight();
        first.not_a_frame("frames.a");
        second.ready(3, &[], "runtime");
        drop(second.in_flight());
        let figures = |metrics: &Metrics| {
            let malformed = metrics.frames.with_label_values(&[MALFORMED]).get();
            (metrics.in_flight.get(), malformed, metrics.sessions.get())
        };
        assert_eq!(figures(&first), (1, 1, 0));
        assert_eq!(figures(&second), (0, 0, 3));
    }
}

//! Gauges: how full streams are, how far consumers are, and how many videos are in which state.

use std::time::{Duration, SystemTime};

use async_nats::jetstream::{consumer, stream};
use moliceiro_nats::DetectorsConsumer;
use moliceiro_nats::messages::{ModelWork, QueuedWork, VideoState};
use prometheus::core::{Atomic, Collector, GenericGaugeVec};

use super::Metrics;

impl Metrics {
    pub(crate) fn stream(&self, info: &stream::Info) {
        let name = [info.config.name.as_str()];
        let limit = info.config.max_bytes;
        let (messages, bytes) = (info.state.messages, info.state.bytes);
        let fill = if limit > 0 { bytes as f64 / limit as f64 } else { 0.0 };
        let oldest = match messages {
            0 => Duration::ZERO,
            _ => SystemTime::now()
                .duration_since(info.state.first_timestamp.into())
                .unwrap_or_default(),
        };
        self.stream_messages.with_label_values(&name).set(gauge_value(messages));
        self.stream_bytes.with_label_values(&name).set(gauge_value(bytes));
        self.stream_limit_bytes.with_label_values(&name).set(limit);
        self.stream_fill.with_label_values(&name).set(fill);
        self.stream_oldest_seconds.with_label_values(&name).set(oldest.as_secs_f64());
    }

    pub(crate) fn consumer(&self, info: &consumer::Info) {
        let names = [info.stream_name.as_str(), info.name.as_str()];
        for (gauge, value) in [
            (&self.consumer_pending, info.num_pending),
            (&self.consumer_ack_pending, info.num_ack_pending as u64),
            (&self.consumer_redelivered, info.num_redelivered as u64),
            (&self.consumer_pulls, info.num_waiting as u64),
        ] {
            gauge.with_label_values(&names).set(gauge_value(value));
        }
    }

    /// All consumers of the frame queue. What is exported of a removed model ends.
    pub(crate) fn detectors(&self, detectors: &[DetectorsConsumer]) {
        for consumer in detectors {
            self.consumer(&consumer.info);
        }
        let waiting = |of: &DetectorsConsumer| {
            let frames = if of.is_unserved() { of.waiting_frames() } else { 0 };
            (of.model.to_string(), gauge_value(frames))
        };
        set_all(&self.unserved_frames, detectors.iter().map(waiting).collect());
    }

    /// What is exported of a removed model ends.
    pub(crate) fn work(&self, work: &QueuedWork) {
        for (gauges, value) in [
            (&self.work_frames, (|of| of.frames) as fn(&ModelWork) -> u64),
            (&self.model_detectors, |of| of.detectors),
        ] {
            set_all(gauges, of_each(work, |of| gauge_value(value(of))));
        }
        for (gauges, value) in [
            (
                &self.work_seconds,
                (|of| of.seconds.unwrap_or(f64::INFINITY)) as fn(&ModelWork) -> f64,
            ),
            (&self.detector_seconds, |of| of.detector_seconds),
            (&self.frames_per_second, |of| of.frames_per_second),
            (&self.detector_frames_per_second, |of| {
                of.detector_frames_per_second.unwrap_or_default()
            }),
        ] {
            set_all(gauges, of_each(work, value));
        }
    }

    /// `states` has one element for each video.
    pub(crate) fn videos(&self, states: &[VideoState], longest_silence: Duration) {
        for state in VideoState::ALL {
            let n = states.iter().filter(|found| **found == state).count();
            self.videos.with_label_values(&[state.name()]).set(gauge_value(n as u64));
        }
        self.longest_silence.set(longest_silence.as_secs_f64());
    }
}

fn gauge_value(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

fn of_each<T>(work: &QueuedWork, value: impl Fn(&ModelWork) -> T) -> Vec<(String, T)> {
    work.models.iter().map(|of| (of.model.to_string(), value(of))).collect()
}

/// Sets the gauges of these models, and removes those of others. One that stays is never missing: it
/// may be scraped at any time.
fn set_all<P: Atomic>(gauges: &GenericGaugeVec<P>, values: Vec<(String, P::T)>) {
    let is_gone = |model: &str| !values.iter().any(|(named, _)| named == model);
    let families = gauges.collect();
    let exported = families.iter().flat_map(|family| family.get_metric());
    for model in exported.flat_map(|metric| metric.get_label()).map(|label| label.value()) {
        if is_gone(model) {
            // Nobody else removes it.
            drop(gauges.remove_label_values(&[model]));
        }
    }
    for (model, value) in values {
        gauges.with_label_values(&[&model]).set(value);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;

    use moliceiro_nats::messages::VERSION;
    use moliceiro_service::metrics::Catalogue;
    use prometheus::{Registry, TextEncoder};

    use super::*;

    fn of_model(name: &str) -> ModelWork {
        ModelWork {
            model: name.parse().unwrap(),
            frames: 7,
            in_flight: 1,
            frames_per_second: 2.0,
            seconds: Some(3.5),
            detector_frames_per_second: Some(2.0),
            detector_seconds: 3.5,
            detectors: 1,
        }
    }

    fn exported(registry: &Registry, model: &str) -> usize {
        let text = TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
        text.lines().filter(|line| line.contains(&format!("{{model=\"{model}\"}}"))).count()
    }

    #[test]
    fn a_model_is_in_every_scrape_while_its_work_is_measured() {
        let registry = Registry::new();
        let metrics = Metrics::new(&mut Catalogue::new(&registry));
        let (boats, cars) = (of_model("boats"), of_model("cars"));
        let measured = |models: &[&ModelWork]| {
            let models = models.iter().map(|&of| of.clone()).collect();
            let (version, detectors, detector_seconds) = (VERSION, 1, 3.5);
            metrics.work(&QueuedWork { version, detectors, detector_seconds, models });
        };
        measured(&[&boats]);
        let is_ended = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !is_ended.load(Ordering::Relaxed) {
                    measured(&[&boats, &cars]);
                    measured(&[&boats]);
                }
            });
            for _ in 0..1000 {
                let found = exported(&registry, "boats");
                if found != 6 {
                    is_ended.store(true, Ordering::Relaxed);
                }
                assert_eq!(found, 6);
            }
            is_ended.store(true, Ordering::Relaxed);
        });
        assert_eq!(exported(&registry, "cars"), 0, "it is gone");
    }
}

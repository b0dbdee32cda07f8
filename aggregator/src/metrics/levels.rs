//! Gauges: how full streams are, how far consumers are, and how many videos are in which state.

use std::time::{Duration, SystemTime};

use async_nats::jetstream::{consumer, stream};
use moliceiro_nats::DetectorsConsumer;
use moliceiro_nats::messages::{QueuedWork, VideoState};

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
        self.unserved_frames.reset();
        for consumer in detectors {
            self.consumer(&consumer.info);
            let waiting = if consumer.is_unserved() { consumer.waiting_frames() } else { 0 };
            let model = consumer.model.to_string();
            self.unserved_frames.with_label_values(&[&model]).set(gauge_value(waiting));
        }
    }

    /// What is exported of a removed model ends.
    pub(crate) fn work(&self, work: &QueuedWork) {
        self.work_frames.reset();
        self.model_detectors.reset();
        self.work_seconds.reset();
        self.detector_seconds.reset();
        self.frames_per_second.reset();
        self.detector_frames_per_second.reset();
        for of in &work.models {
            let model = of.model.to_string();
            let label = [model.as_str()];
            self.work_frames.with_label_values(&label).set(gauge_value(of.frames));
            self.model_detectors.with_label_values(&label).set(gauge_value(of.detectors));
            for (gauge, value) in [
                (&self.work_seconds, of.seconds.unwrap_or(f64::INFINITY)),
                (&self.detector_seconds, of.detector_seconds),
                (&self.frames_per_second, of.frames_per_second),
                (
                    &self.detector_frames_per_second,
                    of.detector_frames_per_second.unwrap_or_default(),
                ),
            ] {
                gauge.with_label_values(&label).set(value);
            }
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

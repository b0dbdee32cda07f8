use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use async_nats::jetstream::stream::{
    Config, DiscardPolicy, PersistenceMode, RetentionPolicy, StorageType,
};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::messages::ModelId;
use crate::subjects::{
    ADVISORIES, AGGREGATOR_CONSUMER, ALL_ALARMS, ALL_AUDIT, ALL_DEAD, ALL_DETECTIONS, ALL_FRAMES,
    ALL_RESULTS, ALL_STILLS, ALL_SUMMARIES, ALL_TRACKS, AUDIT, DEAD, DEAD_CONSUMER, FRAMES,
    INGEST_CONSUMER, RESULTS, STILLS, SUMMARIES, TRACKS, UPLOADS, detectors_consumer, frames_for,
    max_deliveries_advisories,
};

/// Results that a crashed aggregator had in flight are redelivered after this time. A result that
/// is counted twice changes nothing.
const RESULT_ACK_WAIT: Duration = Duration::from_secs(5);
const ADVISORY_ACK_WAIT: Duration = Duration::from_secs(30);

/// Settings `[streams]`: how much the streams hold, and how often a message is tried.
///
/// They apply when a stream is created. An existing stream keeps its limits.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StreamsSettings {
    /// Copies of every stream, each on another server of a cluster: 1, 3 or 5.
    pub replicas: usize,
    /// Bytes that the frame queue may hold. Ingest waits while it is full.
    pub frames_max_bytes: u64,
    /// Where the frame queue is: `file`, or `memory`, which a server that ends loses. Frames that are
    /// lost are decoded again; only those of a live source cannot be.
    pub frames_storage: FramesStorage,
    /// Frames of one video that the queue may hold, so that a long video leaves space for others.
    pub frames_max_per_video: u64,
    /// Bytes that results may take. Above half of it, the oldest counted ones are deleted.
    pub results_max_bytes: u64,
    /// Bytes that everything else may take together: queued uploads, summaries and alarms, tracks,
    /// thumbnails, dead letters, who changed what.
    pub other_max_bytes: u64,
    /// How long a detector may go without a sign of work on a frame before another gets it.
    #[serde(with = "humantime_serde")]
    pub frame_ack_wait: Duration,
    /// How often a frame is delivered before it is dead-lettered.
    pub frame_max_deliver: u64,
    /// How long an ingest may go without a sign of work on a video before another gets it.
    #[serde(with = "humantime_serde")]
    pub upload_ack_wait: Duration,
    /// How often an upload is delivered before its video fails.
    pub upload_max_deliver: u64,
    /// How long the server remembers message ids. A frame published twice within it is stored once.
    #[serde(with = "humantime_serde")]
    pub duplicate_window: Duration,
    /// How long summaries, alarms, thumbnails and uploaded bytes are kept, and entries of videos
    /// since their last change.
    #[serde(with = "humantime_serde")]
    pub keep: Duration,
    /// How long results are kept, and with them the objects found in each frame.
    #[serde(with = "humantime_serde")]
    pub keep_detections: Duration,
    /// How long dead letters are kept.
    #[serde(with = "humantime_serde")]
    pub keep_dead: Duration,
    /// How long it is kept who changed what.
    #[serde(with = "humantime_serde")]
    pub keep_audit: Duration,
    /// The JetStream domain of the server that has the streams, if this connection is to another
    /// one, such as a leaf node.
    pub domain: Option<String>,
}

/// Where the frame queue is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FramesStorage {
    /// In the memory of the server.
    Memory,
    /// On its disk. A server without replicas does not wait for the disk.
    File,
}

impl From<FramesStorage> for StorageType {
    fn from(storage: FramesStorage) -> Self {
        match storage {
            FramesStorage::Memory => Self::Memory,
            FramesStorage::File => Self::File,
        }
    }
}

pub(super) const MIB: u64 = 1 << 20;
pub(super) const DAY: Duration = Duration::from_secs(24 * 60 * 60);

impl Default for StreamsSettings {
    fn default() -> Self {
        Self {
            replicas: 1,
            frames_max_bytes: 512 * MIB,
            frames_storage: FramesStorage::File,
            frames_max_per_video: 256,
            results_max_bytes: 1024 * MIB,
            other_max_bytes: 464 * MIB,
            frame_ack_wait: Duration::from_secs(10),
            frame_max_deliver: 5,
            upload_ack_wait: Duration::from_secs(10),
            upload_max_deliver: 3,
            duplicate_window: Duration::from_secs(120),
            keep: 7 * DAY,
            keep_detections: 7 * DAY,
            keep_dead: 7 * DAY,
            keep_audit: 28 * DAY,
            domain: None,
        }
    }
}

/// A setting of `[streams]` with an invalid value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("streams.{key} must be {allowed}")]
pub struct InvalidStreamsSetting {
    /// Its key, such as `replicas`.
    pub key: &'static str,
    /// The values that it may have.
    pub allowed: Allowed,
}

/// The values that a setting of `[streams]` may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Allowed {
    /// As many as NATS can replicate to with a majority.
    #[error("1, 3 or 5")]
    Replicas,
    /// At least one MiB.
    #[error("{MIB} or more")]
    Bytes,
    /// Any positive number.
    #[error("1 or more")]
    OneOrMore,
    /// A bounded number of attempts.
    #[error("1 to 1000")]
    Deliveries,
    /// A time that a network can meet.
    #[error("100ms or longer")]
    Wait,
    /// One token of a subject.
    #[error("a name without dots and wildcards")]
    Domain,
    /// The server refuses streams with a shorter one.
    #[error("at least streams.duplicate_window")]
    Keep,
}

impl StreamsSettings {
    /// The settings whose values are invalid.
    pub fn problems(&self) -> Vec<InvalidStreamsSetting> {
        let mut problems = Vec::new();
        let mut check = |valid: bool, key, allowed| {
            if !valid {
                problems.push(InvalidStreamsSetting { key, allowed });
            }
        };
        let fits = |n: u64| n <= i64::MAX as u64;
        let bytes = |n: u64| n >= MIB && fits(n);
        check(matches!(self.replicas, 1 | 3 | 5), "replicas", Allowed::Replicas);
        check(bytes(self.frames_max_bytes), "frames_max_bytes", Allowed::Bytes);
        check(bytes(self.results_max_bytes), "results_max_bytes", Allowed::Bytes);
        check(bytes(self.other_max_bytes), "other_max_bytes", Allowed::Bytes);
        let per_video = self.frames_max_per_video;
        check(per_video >= 1 && fits(per_video), "frames_max_per_video", Allowed::OneOrMore);
        for (key, deliveries) in [
            ("frame_max_deliver", self.frame_max_deliver),
            ("upload_max_deliver", self.upload_max_deliver),
        ] {
            check((1..=1000).contains(&deliveries), key, Allowed::Deliveries);
        }
        for (key, time) in [
            ("frame_ack_wait", self.frame_ack_wait),
            ("upload_ack_wait", self.upload_ack_wait),
            ("duplicate_window", self.duplicate_window),
        ] {
            check(time >= Duration::from_millis(100), key, Allowed::Wait);
        }
        for (key, keep) in [
            ("keep", self.keep),
            ("keep_detections", self.keep_detections),
            ("keep_dead", self.keep_dead),
            ("keep_audit", self.keep_audit),
        ] {
            check(keep >= self.duplicate_window, key, Allowed::Keep);
        }
        let is_token = |text: &str| {
            !text.is_empty() && text.chars().all(|c| c.is_ascii_graphic() && !".*>".contains(c))
        };
        if !self.domain.as_deref().is_none_or(is_token) {
            problems.push(InvalidStreamsSetting { key: "domain", allowed: Allowed::Domain });
        }
        problems
    }

    /// How the subjects of requests to JetStream begin.
    pub fn api(&self) -> String {
        match &self.domain {
            Some(domain) => format!("$JS.{domain}.API"),
            None => "$JS.API".into(),
        }
    }

    /// The bytes that the streams reserve on the disk of each server that has a copy of them.
    pub fn reserved_bytes(&self) -> u64 {
        self.reserved_in(StorageType::File)
    }

    /// The bytes that they reserve in its memory.
    pub fn reserved_memory(&self) -> u64 {
        self.reserved_in(StorageType::Memory)
    }

    fn reserved_in(&self, storage: StorageType) -> u64 {
        let configs = self.stream_configs();
        let there = configs.iter().filter(|config| config.storage == storage);
        there.map(|config| config.max_bytes.unsigned_abs()).sum()
    }

    /// These settings for a server that stores `disk` bytes at most, and keeps `memory` bytes: if
    /// necessary, each stream gets a smaller part, in proportion; and a queue in memory not more
    /// than half of that. `None` if that would be too little to work with.
    pub fn fitted(&self, disk: u64, memory: u64) -> Option<Self> {
        let mut fitted = self.clone();
        let Self { frames_storage, frames_max_bytes, results_max_bytes, other_max_bytes, .. } =
            &mut fitted;
        let mut stored = vec![results_max_bytes, other_max_bytes];
        match frames_storage {
            FramesStorage::File => stored.push(frames_max_bytes),
            FramesStorage::Memory => {
                *frames_max_bytes = (*frames_max_bytes).min((memory / 2).max(MIB));
            }
        }
        let total: u128 = stored.iter().map(|bytes| u128::from(**bytes)).sum();
        let limit = u128::from(disk);
        if total > limit {
            if disk < self.least_bytes() {
                return None;
            }
            for bytes in stored {
                // At most what it was, which fits.
                *bytes = u64::try_from(u128::from(*bytes) * limit / total).unwrap_or(*bytes);
            }
        }
        Some(fitted)
    }

    /// The least that [`fitted`](Self::fitted) works with on the disk.
    pub fn least_bytes(&self) -> u64 {
        match self.frames_storage {
            FramesStorage::Memory => 32 * MIB,
            FramesStorage::File => 64 * MIB,
        }
    }

    /// A stream's part of `other_max_bytes`, in 29ths: 16 MiB each by default.
    fn other(&self, parts: u64) -> i64 {
        signed((self.other_max_bytes / 29).saturating_mul(parts).max(1))
    }

    pub(super) fn stream_configs(&self) -> [Config; 9] {
        let base = |name: &str, subjects: Vec<String>, description: &str| Config {
            name: name.into(),
            subjects,
            description: Some(description.into()),
            storage: StorageType::File,
            num_replicas: self.replicas,
            duplicate_window: self.duplicate_window,
            allow_direct: true,
            ..Config::default()
        };
        let work_queue = |config: Config| Config {
            retention: RetentionPolicy::WorkQueue,
            discard: DiscardPolicy::New,
            ..config
        };
        let advisories = [FRAMES, UPLOADS].map(max_deliveries_advisories).to_vec();
        [
            Config {
                max_bytes: self.other(4),
                ..work_queue(base(
                    UPLOADS,
                    vec![crate::subjects::UPLOAD_SUBJECT.into()],
                    "Videos to be counted",
                ))
            },
            Config {
                max_bytes: signed(self.frames_max_bytes),
                max_messages_per_subject: signed(self.frames_max_per_video),
                discard_new_per_subject: true,
                storage: self.frames_storage.into(),
                // What a server that is killed had not written yet is decoded again.
                persist_mode: (self.replicas == 1 && self.frames_storage == FramesStorage::File)
                    .then_some(PersistenceMode::Async),
                ..work_queue(base(FRAMES, vec![ALL_FRAMES.into()], "Frames to be analysed"))
            },
            Config {
                max_bytes: signed(self.results_max_bytes),
                max_age: self.keep_detections,
                discard: DiscardPolicy::New,
                ..base(
                    RESULTS,
                    vec![ALL_RESULTS.into(), ALL_DETECTIONS.into()],
                    "Events and results of each video",
                )
            },
            Config {
                max_bytes: self.other(4),
                // Alarms of one video leave space for the summaries of others.
                max_messages_per_subject: 10_000,
                max_age: self.keep,
                ..base(
                    SUMMARIES,
                    vec![ALL_SUMMARIES.into(), ALL_ALARMS.into()],
                    "Summaries and alarms, as JSON",
                )
            },
            Config {
                max_bytes: self.other(4),
                max_age: self.keep,
                allow_atomic_publish: true,
                ..base(TRACKS, vec![ALL_TRACKS.into()], "Finished tracks, as JSON")
            },
            Config {
                max_bytes: self.other(4),
                max_messages_per_subject: 1,
                max_age: self.keep,
                ..base(STILLS, vec![ALL_STILLS.into()], "Thumbnails of each video")
            },
            Config {
                max_bytes: self.other(1),
                ..work_queue(base(ADVISORIES, advisories, "Messages that ran out of deliveries"))
            },
            Config {
                max_bytes: self.other(11),
                max_age: self.keep_dead,
                ..base(DEAD, vec![ALL_DEAD.into()], "Payloads that could not be processed")
            },
            Config {
                max_bytes: self.other(1),
                max_age: self.keep_audit,
                ..base(AUDIT, vec![ALL_AUDIT.into()], "Who changed what, as JSON")
            },
        ]
    }

    fn consumer(&self, name: &str, ack_wait: Duration, max_deliver: i64) -> pull::Config {
        const MAX_IN_FLIGHT: i64 = 4096;
        pull::Config {
            durable_name: Some(name.into()),
            ack_policy: AckPolicy::Explicit,
            deliver_policy: DeliverPolicy::All,
            ack_wait,
            max_deliver,
            max_ack_pending: MAX_IN_FLIGHT,
            // As many as its stream has, also when that changes.
            num_replicas: 0,
            ..pull::Config::default()
        }
    }

    /// The consumer that the detectors of a model share.
    pub(super) fn detectors_config(&self, model: &ModelId, storage: StorageType) -> pull::Config {
        let wait = self.frame_ack_wait;
        // The server requires fewer steps than deliveries; the last one holds for the rest.
        let steps = self.frame_max_deliver.saturating_sub(1);
        let steps = usize::try_from(steps).unwrap_or(usize::MAX).min(3);
        pull::Config {
            backoff: [wait, wait, 3 * wait][..steps].to_vec(),
            filter_subject: frames_for(model),
            memory_storage: storage == StorageType::Memory,
            ..self.consumer(&detectors_consumer(model), wait, signed(self.frame_max_deliver))
        }
    }

    pub(super) fn consumer_configs(&self) -> [(&'static str, pull::Config); 3] {
        [
            (
                UPLOADS,
                self.consumer(
                    INGEST_CONSUMER,
                    self.upload_ack_wait,
                    signed(self.upload_max_deliver),
                ),
            ),
            // Results of one video that wait must not hold up those of others. The stream itself is
            // bounded.
            (
                RESULTS,
                pull::Config {
                    max_ack_pending: -1,
                    ..self.consumer(AGGREGATOR_CONSUMER, RESULT_ACK_WAIT, -1)
                },
            ),
            (ADVISORIES, self.consumer(DEAD_CONSUMER, ADVISORY_ACK_WAIT, -1)),
        ]
    }
}

/// [`StreamsSettings::problems`] refuses what does not fit.
fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_fit_a_small_disk() {
        let frames_storage = FramesStorage::File;
        let settings = StreamsSettings { frames_storage, ..StreamsSettings::default() };
        assert_eq!(settings.reserved_bytes(), 2000 * MIB);
        let fits = settings.fitted(2000 * MIB, 0).unwrap();
        assert_eq!(fits.reserved_bytes(), 2000 * MIB);
        for limit in [64 * MIB, 100 * MIB + 1, 2000 * MIB - 1] {
            let small = settings.fitted(limit, 0).unwrap();
            assert!((limit - MIB..=limit).contains(&small.reserved_bytes()), "{limit}");
            assert!(small.problems().is_empty() && small.keep == settings.keep, "{limit}");
        }
        assert!(settings.fitted(64 * MIB - 1, 0).is_none());
        let smaller = StreamsSettings {
            frames_max_bytes: 16 * MIB,
            results_max_bytes: 16 * MIB,
            other_max_bytes: 8 * MIB,
            ..settings
        };
        assert!(smaller.fitted(40 * MIB, 0).is_some(), "smaller settings need less");
    }

    #[test]
    fn a_queue_in_memory_takes_half_of_it_and_nothing_of_the_disk() {
        let frames_storage = FramesStorage::Memory;
        let settings = StreamsSettings { frames_storage, ..StreamsSettings::default() };
        assert_eq!(settings.reserved_bytes(), 1488 * MIB);
        assert_eq!(settings.reserved_memory(), 512 * MIB);
        let small = settings.fitted(32 * MIB, 600 * MIB).unwrap();
        assert_eq!(small.reserved_memory(), 300 * MIB);
        assert!((31 * MIB..=32 * MIB).contains(&small.reserved_bytes()));
        assert!(small.problems().is_empty());
        assert!(settings.fitted(32 * MIB - 1, 600 * MIB).is_none());
    }
}

//! The streams, consumers and buckets: created by whichever service comes first, checked by all.

mod check;
mod error;

use std::time::Duration;

use async_nats::Client;
use async_nats::jetstream::consumer::{AckPolicy, Consumer, DeliverPolicy, pull};
use async_nats::jetstream::context::{ContextBuilder, CreateStreamErrorKind};
use async_nats::jetstream::stream::{
    Config, ConsumerErrorKind, DiscardPolicy, RetentionPolicy, StorageType, Stream,
};
use async_nats::jetstream::{Context, kv, object_store};
use backon::{ExponentialBuilder, Retryable};
use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::objects::Objects;
use crate::publish::Publisher;
use crate::subjects::{
    ADVISORIES, AGGREGATOR_CONSUMER, ATTEMPTS_BUCKET, DEAD, DEAD_CONSUMER, DETECTORS_CONSUMER,
    FRAMES, INGEST_CONSUMER, REQUESTS_BUCKET, RESULTS, STILLS, SUMMARIES, UPLOADS, UPLOADS_BUCKET,
    VIDEOS_BUCKET, max_deliveries_advisories,
};
use crate::videos::Videos;

pub use error::StreamsError;
use error::{may_pass, refused, unavailable};

const API_TIMEOUT: Duration = Duration::from_secs(5);
/// What an aggregator that died had in hand comes to the next one after this time. A result counted
/// twice changes nothing.
const RESULT_ACK_WAIT: Duration = Duration::from_secs(5);
/// The server says that a frame ran out of deliveries when the next one is pulled: a while after,
/// if no detector is left.
const KEEP_ATTEMPTS: Duration = DAY;
const ADVISORY_ACK_WAIT: Duration = Duration::from_secs(30);
/// An election of a new leader takes seconds; creating streams waits that long and no longer.
const CREATION_ATTEMPTS: usize = 15;
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Settings `[streams]`: how much the streams hold, and how often a message is tried.
///
/// They are used when a stream is created. A stream that exists keeps its limits.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StreamsSettings {
    /// Copies of every stream, on as many servers of a cluster: 1, 3 or 5.
    pub replicas: usize,
    /// Bytes that the frame queue may hold. A full queue makes ingest wait.
    pub frames_max_bytes: u64,
    /// Frames of one video that the queue may hold, so that a long video leaves room for others.
    pub frames_max_per_video: u64,
    /// Bytes that results may take. Above half of it, the oldest that are counted are removed.
    pub results_max_bytes: u64,
    /// How long a detector may be silent about a frame before another gets it.
    #[serde(with = "humantime_serde")]
    pub frame_ack_wait: Duration,
    /// How often a frame is handed out before it is given up.
    pub frame_max_deliver: u64,
    /// How long an ingest may be silent about a video before another gets it.
    #[serde(with = "humantime_serde")]
    pub upload_ack_wait: Duration,
    /// How often a video is handed out before it is given up.
    pub upload_max_deliver: u64,
    /// How long the server remembers message ids. A frame published twice within it is stored once.
    #[serde(with = "humantime_serde")]
    pub duplicate_window: Duration,
    /// How long summaries, alarms, stills and uploaded bytes are kept, and entries of videos of
    /// which nothing new is heard.
    #[serde(with = "humantime_serde")]
    pub keep: Duration,
    /// How long results are kept, and with them what was found in each frame.
    #[serde(with = "humantime_serde")]
    pub keep_detections: Duration,
    /// How long dead letters are kept.
    #[serde(with = "humantime_serde")]
    pub keep_dead: Duration,
}

const MIB: u64 = 1 << 20;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

impl Default for StreamsSettings {
    fn default() -> Self {
        Self {
            replicas: 1,
            frames_max_bytes: 512 * MIB,
            frames_max_per_video: 256,
            results_max_bytes: 1024 * MIB,
            frame_ack_wait: Duration::from_secs(10),
            frame_max_deliver: 5,
            upload_ack_wait: Duration::from_secs(10),
            upload_max_deliver: 3,
            duplicate_window: Duration::from_secs(120),
            keep: 7 * DAY,
            keep_detections: 7 * DAY,
            keep_dead: 7 * DAY,
        }
    }
}

impl StreamsSettings {
    /// The settings that cannot be, each with what would do.
    pub fn problems(&self) -> Vec<(&'static str, String)> {
        let mut problems = Vec::new();
        let mut check = |ok: bool, key, what: &str| {
            if !ok {
                problems.push((key, what.to_owned()));
            }
        };
        let countable = |n: u64| n <= i64::MAX as u64;
        check(matches!(self.replicas, 1 | 3 | 5), "replicas", "1, 3 or 5");
        check(
            self.frames_max_bytes >= MIB && countable(self.frames_max_bytes),
            "frames_max_bytes",
            "1048576 or more",
        );
        check(
            self.frames_max_per_video >= 1 && countable(self.frames_max_per_video),
            "frames_max_per_video",
            "1 or more",
        );
        check(
            self.results_max_bytes >= MIB && countable(self.results_max_bytes),
            "results_max_bytes",
            "1048576 or more",
        );
        check((1..=1000).contains(&self.frame_max_deliver), "frame_max_deliver", "1 to 1000");
        check((1..=1000).contains(&self.upload_max_deliver), "upload_max_deliver", "1 to 1000");
        for (key, wait) in
            [("frame_ack_wait", self.frame_ack_wait), ("upload_ack_wait", self.upload_ack_wait)]
        {
            check(wait >= Duration::from_millis(100), key, "100ms or longer");
        }
        check(
            self.duplicate_window >= Duration::from_millis(100),
            "duplicate_window",
            "100ms or longer",
        );
        for (key, keep) in [
            ("keep", self.keep),
            ("keep_detections", self.keep_detections),
            ("keep_dead", self.keep_dead),
        ] {
            check(keep >= self.duplicate_window, key, "no shorter than streams.duplicate_window");
        }
        problems
    }

    fn stream_configs(&self) -> [Config; 7] {
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
                max_bytes: signed(64 * MIB),
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
                ..work_queue(base(FRAMES, vec!["frames.*".into()], "Frames to be looked at"))
            },
            Config {
                max_bytes: signed(self.results_max_bytes),
                max_age: self.keep_detections,
                discard: DiscardPolicy::New,
                ..base(RESULTS, vec!["results.*".into()], "What happened to each video")
            },
            Config {
                max_bytes: signed(64 * MIB),
                // Alarms of one video leave room for the summaries of others.
                max_messages_per_subject: 10_000,
                max_age: self.keep,
                ..base(
                    SUMMARIES,
                    vec!["summaries.*".into(), "alarms.*".into()],
                    "Summaries and alarms, as JSON",
                )
            },
            Config {
                max_bytes: signed(64 * MIB),
                max_messages_per_subject: 1,
                max_age: self.keep,
                ..base(STILLS, vec!["stills.*.*".into()], "A few frames of each video, to look at")
            },
            Config {
                max_bytes: signed(16 * MIB),
                ..work_queue(base(ADVISORIES, advisories, "Messages that ran out of deliveries"))
            },
            Config {
                max_bytes: signed(256 * MIB),
                max_age: self.keep_dead,
                ..base(DEAD, vec!["dead.*".into()], "Payloads that could not be processed")
            },
        ]
    }

    fn bucket_config(&self, name: &str, description: &str, max_age: Duration) -> kv::Config {
        kv::Config {
            bucket: name.into(),
            description: description.into(),
            history: 1,
            max_age,
            storage: StorageType::File,
            num_replicas: self.replicas,
            ..kv::Config::default()
        }
    }

    fn consumer(&self, name: &str, ack_wait: Duration, max_deliver: i64) -> pull::Config {
        const IN_HAND: i64 = 4096;
        pull::Config {
            durable_name: Some(name.into()),
            ack_policy: AckPolicy::Explicit,
            deliver_policy: DeliverPolicy::All,
            ack_wait,
            max_deliver,
            max_ack_pending: IN_HAND,
            num_replicas: self.replicas,
            ..pull::Config::default()
        }
    }

    fn consumer_configs(&self) -> [(&'static str, pull::Config); 4] {
        let wait = self.frame_ack_wait;
        // The server wants fewer steps than deliveries; the last one holds for the rest.
        let steps = usize::try_from(self.frame_max_deliver - 1).unwrap_or(usize::MAX).min(3);
        let backoff = [wait, wait, 3 * wait][..steps].to_vec();
        [
            (
                UPLOADS,
                self.consumer(
                    INGEST_CONSUMER,
                    self.upload_ack_wait,
                    signed(self.upload_max_deliver),
                ),
            ),
            (
                FRAMES,
                pull::Config {
                    backoff,
                    ..self.consumer(DETECTORS_CONSUMER, wait, signed(self.frame_max_deliver))
                },
            ),
            // Results of one video that have to wait leave room for those of others: the log itself
            // has a bound.
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

/// Counts and sizes fit: [`StreamsSettings::problems`] refuses larger ones.
fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// All that services share, there and as it should be. Cheap to clone.
#[derive(Clone)]
pub struct Streams {
    /// For publishing.
    pub jetstream: Context,
    /// Stores messages, and counts how that goes.
    pub publisher: Publisher,
    /// [`UPLOADS`]
    pub uploads: Stream,
    /// [`FRAMES`]
    pub frames: Stream,
    /// [`RESULTS`]
    pub results: Stream,
    /// [`SUMMARIES`]
    pub summaries: Stream,
    /// [`STILLS`]
    pub stills: Stream,
    /// [`ADVISORIES`]
    pub advisories: Stream,
    /// [`DEAD`]
    pub dead: Stream,
    /// [`VIDEOS_BUCKET`]
    pub videos: kv::Store,
    /// [`REQUESTS_BUCKET`]
    pub requests: kv::Store,
    /// [`UPLOADS_BUCKET`]
    pub objects: Objects,
    /// [`ATTEMPTS_BUCKET`]
    pub attempts: kv::Store,
    /// [`INGEST_CONSUMER`] of [`UPLOADS`]
    pub ingest: Consumer<pull::Config>,
    /// [`DETECTORS_CONSUMER`] of [`FRAMES`]
    pub detectors: Consumer<pull::Config>,
    /// [`AGGREGATOR_CONSUMER`] of [`RESULTS`]
    pub aggregator: Consumer<pull::Config>,
    /// [`DEAD_CONSUMER`] of [`ADVISORIES`]
    pub exhausted: Consumer<pull::Config>,
}

impl Streams {
    /// Creates what is missing, and checks what is there. Gives up when the server has no leader
    /// for it within half a minute.
    ///
    /// `publishes_in_flight` bounds the unacknowledged publishes of this connection, and so the
    /// memory they take.
    pub async fn open(
        client: Client,
        settings: &StreamsSettings,
        publishes_in_flight: usize,
    ) -> Result<Self, StreamsError> {
        Self::open_with(
            client,
            settings,
            publishes_in_flight,
            pauses().with_max_times(CREATION_ATTEMPTS),
        )
        .await
    }

    /// As [`Streams::open`], but waits for ever: of a cluster that starts, one server may answer
    /// long before there are enough.
    pub async fn wait_for(
        client: Client,
        settings: &StreamsSettings,
        publishes_in_flight: usize,
    ) -> Result<Self, StreamsError> {
        Self::open_with(client, settings, publishes_in_flight, pauses().without_max_times()).await
    }

    async fn open_with(
        client: Client,
        settings: &StreamsSettings,
        publishes_in_flight: usize,
        pauses: ExponentialBuilder,
    ) -> Result<Self, StreamsError> {
        let jetstream = ContextBuilder::new()
            .timeout(API_TIMEOUT)
            .ack_timeout(API_TIMEOUT)
            .max_ack_inflight(publishes_in_flight)
            .build(client);
        // It is large, and every caller would hold it in its own.
        let attempt = || Box::pin(Self::open_once(&jetstream, settings));
        let waiting = |error: &StreamsError, pause: Duration| warn!(%error, retry_in = ?pause, "the streams are not there yet");
        attempt
            .retry(pauses)
            .when(|e| matches!(e, StreamsError::Unavailable { .. }))
            .notify(waiting)
            .await
    }

    /// Reads videos.
    pub fn videos(&self) -> Videos<'_> {
        Videos::new(self)
    }

    /// All streams that are not buckets of entries.
    pub fn streams(&self) -> [&Stream; 8] {
        let Self { uploads, frames, results, summaries, stills, advisories, dead, objects, .. } =
            self;
        [uploads, frames, results, summaries, stills, advisories, dead, objects.stream()]
    }

    /// Asks the server whether the streams are still there, and waits for its answer no longer than
    /// a few seconds.
    pub async fn check(&self) -> Result<(), StreamsError> {
        let buckets = [&self.videos, &self.attempts, &self.requests].map(|bucket| &bucket.stream);
        for stream in self.streams().into_iter().chain(buckets) {
            let what = format!("stream {}", stream.cached_info().config.name);
            stream.get_info().await.map_err(unavailable(what))?;
        }
        Ok(())
    }

    /// Waits until all that was sent has left this process, acknowledgements too; a few seconds at
    /// most.
    pub async fn flush(&self) {
        match tokio::time::timeout(API_TIMEOUT, self.jetstream.client().flush()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                warn!(%error, "the last acknowledgements may be lost: what they are for comes again")
            }
            Err(_) => warn!(
                "the last acknowledgements may be lost, for the server takes none: what they are for comes again"
            ),
        }
    }

    async fn open_once(
        jetstream: &Context,
        settings: &StreamsSettings,
    ) -> Result<Self, StreamsError> {
        let server = jetstream.client().server_info().version;
        check::version(&server, settings.replicas)?;
        let mut streams = Vec::new();
        for config in settings.stream_configs() {
            let what = format!("stream {}", config.name);
            let stream =
                jetstream.get_or_create_stream(config.clone()).await.map_err(
                    |error| match error.kind() {
                        CreateStreamErrorKind::JetStream(reason) if !may_pass(&reason) => {
                            refused(&what, &reason, settings)
                        }
                        _ => unavailable(&what)(error),
                    },
                )?;
            let found = &stream.cached_info().config;
            check::version(&server, found.num_replicas)?;
            check::stream(&what, found, &config)?;
            streams.push(stream);
        }
        let mut consumers = Vec::new();
        for (stream, config) in settings.consumer_configs() {
            let name = config.durable_name.clone().unwrap_or_default();
            let what = format!("consumer {name} of stream {stream}");
            let stream = streams
                .iter()
                .find(|s| s.cached_info().config.name == stream)
                .ok_or("not opened")
                .map_err(unavailable(&what))?;
            let consumer =
                stream.get_or_create_consumer(&name, config.clone()).await.map_err(|error| {
                    match error.kind() {
                        ConsumerErrorKind::JetStream(reason) if !may_pass(&reason) => {
                            refused(&what, &reason, settings)
                        }
                        _ => unavailable(&what)(error),
                    }
                })?;
            check::consumer(&what, &consumer.cached_info().config, &config)?;
            consumers.push(consumer);
        }
        let (
            Ok([uploads, frames, results, summaries, stills, advisories, dead]),
            Ok([ingest, detectors, aggregator, exhausted]),
        ) = (<[Stream; 7]>::try_from(streams), <[Consumer<pull::Config>; 4]>::try_from(consumers))
        else {
            unreachable!("as many are opened as there are configurations")
        };
        let videos = bucket(
            jetstream,
            settings.bucket_config(VIDEOS_BUCKET, "State of each video", settings.keep),
        )
        .await?;
        let attempts = settings.bucket_config(
            ATTEMPTS_BUCKET,
            "Who has a frame at its last delivery",
            KEEP_ATTEMPTS,
        );
        let attempts = bucket(jetstream, attempts).await?;
        let requests = settings.bucket_config(
            REQUESTS_BUCKET,
            "What was uploaded with which idempotency key",
            settings.keep,
        );
        let requests = bucket(jetstream, requests).await?;
        let objects = uploads_bucket(jetstream, settings).await?;
        Ok(Self {
            jetstream: jetstream.clone(),
            publisher: Publisher::new(jetstream.clone()),
            objects,
            requests,
            uploads,
            frames,
            results,
            summaries,
            stills,
            advisories,
            dead,
            videos,
            attempts,
            ingest,
            detectors,
            aggregator,
            exhausted,
        })
    }
}

fn pauses() -> ExponentialBuilder {
    ExponentialBuilder::default().with_max_delay(LONGEST_PAUSE)
}

async fn bucket(jetstream: &Context, config: kv::Config) -> Result<kv::Store, StreamsError> {
    let what = format!("bucket {}", config.bucket);
    let found = match jetstream.get_key_value(&config.bucket).await {
        Ok(found) => found,
        Err(_) => jetstream.create_key_value(config.clone()).await.map_err(unavailable(&what))?,
    };
    check::bucket(&what, &found.stream.cached_info().config, config.num_replicas, config.max_age);
    Ok(found)
}

async fn uploads_bucket(
    jetstream: &Context,
    settings: &StreamsSettings,
) -> Result<Objects, StreamsError> {
    let what = format!("object store {UPLOADS_BUCKET}");
    if jetstream.get_object_store(UPLOADS_BUCKET).await.is_err() {
        let config = object_store::Config {
            bucket: UPLOADS_BUCKET.into(),
            description: Some("Uploaded videos".into()),
            max_age: settings.keep,
            storage: StorageType::File,
            num_replicas: settings.replicas,
            ..object_store::Config::default()
        };
        jetstream.create_object_store(config).await.map_err(unavailable(&what))?;
    }
    let objects = Objects::open(jetstream.clone()).await.map_err(unavailable(&what))?;
    check::bucket(&what, &objects.stream().cached_info().config, settings.replicas, settings.keep);
    Ok(objects)
}

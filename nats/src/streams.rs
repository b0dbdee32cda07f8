//! The streams, consumers and buckets: the first service creates them, every service checks them.

mod buckets;
mod check;
mod consumers;
mod detectors;
mod error;
mod settings;
mod upgrade;

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use async_nats::Client;
use async_nats::jetstream::consumer::{Consumer, pull};
use async_nats::jetstream::context::{ContextBuilder, CreateStreamErrorKind, GetStreamErrorKind};
use async_nats::jetstream::stream::Stream;
use async_nats::jetstream::{Context, ErrorCode, kv, object_store};
use backon::{ExponentialBuilder, Retryable};
use tracing::warn;

use crate::models::Models;
use crate::objects::Objects;
use crate::publish::Publisher;
use crate::storage::Storage;
use crate::subjects::UPLOADS;
use crate::videos::Videos;

pub(crate) use buckets::stream_names;
pub use detectors::DetectorsConsumer;
pub(crate) use detectors::is_left;
pub use error::StreamsError;
use error::{may_pass, refused, unavailable};
use settings::DAY;
pub use settings::{Allowed, FramesStorage, InvalidStreamsSetting, StreamsSettings};

const API_TIMEOUT: Duration = Duration::from_secs(5);
/// The server reports that a frame ran out of deliveries when the next one is pulled: late, if all
/// detectors are down.
const KEEP_ATTEMPTS: Duration = DAY;
/// Enough for the election of a new leader, which takes seconds.
const CREATION_ATTEMPTS: usize = 15;
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// How often it is checked whether the connection is to another server than before. That costs
/// nothing.
const RESTART_INTERVAL: Duration = Duration::from_millis(100);

/// Everything that services share on the server, created and checked. Cheap to clone and to move:
/// its fields are those of [`OpenStreams`].
#[derive(Clone)]
pub struct Streams(Arc<OpenStreams>);

/// The fields of [`Streams`].
pub struct OpenStreams {
    /// The JetStream context of this connection.
    pub jetstream: Context,
    /// How the subjects of requests to JetStream begin.
    pub(crate) api: Arc<str>,
    /// Publishes messages until they are stored.
    pub publisher: Publisher,
    /// Uploads that wait for an ingest, or have one.
    pub uploads: Stream,
    /// Frames that wait for a detector, or have one.
    pub frames: Stream,
    /// The log of each video: its events and results.
    pub results: Stream,
    /// Summaries and alarms, one message each.
    pub summaries: Stream,
    /// Finished tracks, one message each.
    pub tracks: Stream,
    /// Thumbnails: JPEGs of some frames of each video.
    pub stills: Stream,
    /// The server's notices of messages that ran out of deliveries.
    pub advisories: Stream,
    /// Frames that failed for good, with their payload: see [`crate::dead`].
    pub dead: Stream,
    /// Who changed what, one message each.
    pub audit: Stream,
    /// The entry of each video, for [`videos()`](Self::videos).
    pub(crate) videos: kv::Store,
    /// The state of the fold over each unfinished video's results.
    pub folds: kv::Store,
    /// The upload that each `Idempotency-Key` stands for, and which videos were deleted.
    pub requests: kv::Store,
    /// The bytes of uploads.
    pub objects: Objects,
    /// The models, by name.
    pub models: Models,
    /// Whether the server can write all these.
    pub storage: Storage,
    /// Which detector has a frame at its last delivery.
    pub attempts: kv::Store,
    /// Delivers `uploads` to ingests.
    pub ingest: Consumer<pull::Config>,
    /// Delivers `results` to aggregators.
    pub aggregator: Consumer<pull::Config>,
    /// Delivers `advisories` to aggregators.
    pub exhausted: Consumer<pull::Config>,
    /// What consumers of `frames` are created with.
    settings: StreamsSettings,
}

impl Deref for Streams {
    type Target = OpenStreams;

    fn deref(&self) -> &OpenStreams {
        &self.0
    }
}

impl Streams {
    /// Creates what is missing, and checks what exists. Returns an error if the server does not
    /// have a leader for it within half a minute.
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

    /// As [`Streams::open`], for commands that only read: an unused server stays as it is.
    pub async fn open_existing(
        client: Client,
        settings: &StreamsSettings,
        publishes_in_flight: usize,
    ) -> Result<Self, StreamsError> {
        check_used(&jetstream(client.clone(), settings, publishes_in_flight)).await?;
        Self::open(client, settings, publishes_in_flight).await
    }

    /// As [`Streams::open`], but waits forever: while a cluster starts, one server may answer long
    /// before there is a majority.
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
        let jetstream = jetstream(client, settings, publishes_in_flight);
        // The future is large: boxed, it does not enlarge every caller's.
        let attempt = || Box::pin(Self::open_once(&jetstream, settings));
        let waiting = |error: &StreamsError, pause: Duration| {
            warn!(%error, retry_in = ?pause, "the streams are not available yet");
        };
        attempt
            .retry(pauses)
            .when(|e| matches!(e, StreamsError::Unavailable { .. }))
            .notify(waiting)
            .await
    }

    /// Another context of the same connection: with a limit of its own for publishes that are not
    /// acknowledged, and this timeout for each and for requests.
    pub fn context(&self, timeout: Duration, publishes_in_flight: usize) -> Context {
        ContextBuilder::new()
            .api_prefix(self.api.to_string())
            .timeout(timeout)
            .ack_timeout(timeout)
            .max_ack_inflight(publishes_in_flight)
            .build(self.jetstream.client())
    }

    /// The reader of videos, and the writer of their entries.
    pub fn videos(&self) -> Videos<'_> {
        Videos::new(self)
    }

    /// All streams, except those of key-value buckets.
    pub fn streams(&self) -> [&Stream; 11] {
        let OpenStreams { uploads, frames, results, summaries, tracks, .. } = &**self;
        let OpenStreams { stills, advisories, dead, audit, .. } = &**self;
        let (objects, models) = (self.objects.stream(), self.models.stream());
        [
            uploads, frames, results, summaries, tracks, stills, advisories, dead, audit, objects,
            models,
        ]
    }

    /// Checks that the streams still exist, and that the server can write them. Takes a few seconds
    /// at most.
    pub async fn check(&self) -> Result<(), StreamsError> {
        let buckets = [&self.videos, &self.attempts, &self.requests, &self.folds];
        let buckets = buckets.map(|bucket| &bucket.stream);
        let mut found = Ok(());
        for stream in self.streams().into_iter().chain(buckets) {
            let what = format!("stream {}", stream.cached_info().config.name);
            found = stream.get_info().await.map(drop).map_err(unavailable(what));
            if found.is_err() {
                break;
            }
        }
        // It says more about a stream that does not answer.
        match self.storage.check().await.into_iter().next() {
            Some(stuck) => Err(StreamsError::Stuck(stuck)),
            None => found,
        }
    }

    /// Checks that the consumers of uploads and results still exist.
    pub async fn check_consumers(&self) -> Result<(), StreamsError> {
        for consumer in [&self.ingest, &self.aggregator, &self.exhausted] {
            let what = format!("consumer {}", consumer.cached_info().name);
            consumer.get_info().await.map_err(unavailable(what))?;
        }
        Ok(())
    }

    /// Creates again what was deleted or lost: streams, consumers and buckets. What existed stays as
    /// it is, and this value works on with what is new.
    pub async fn restore(&self) -> Result<(), StreamsError> {
        Box::pin(Self::open_once(&self.jetstream, &self.settings)).await.map(drop)
    }

    /// Restores what a server that was restarted does not have any more: what was in its memory.
    /// Ends with the streams.
    pub fn watch_restarts(&self) -> impl Future<Output = ()> + Send + use<> {
        let client = self.jetstream.client();
        let mut run = client.server_info().server_id;
        let streams = Arc::downgrade(&self.0);
        async move {
            loop {
                tokio::time::sleep(RESTART_INTERVAL).await;
                let Some(streams) = streams.upgrade().map(Self) else { return };
                let now = client.server_info().server_id;
                if now == run {
                    continue;
                }
                match streams.restore().await {
                    Ok(()) => run = now,
                    Err(error) => {
                        warn!(%error, "cannot restore what is missing on the server; retrying");
                        tokio::time::sleep(LONGEST_PAUSE).await;
                    }
                }
            }
        }
    }

    /// Waits until everything sent has left this process, acknowledgements too; a few seconds at
    /// most.
    pub async fn flush(&self) {
        match tokio::time::timeout(API_TIMEOUT, self.jetstream.client().flush()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => warn!(
                %error,
                "the last acknowledgements may be lost: their messages will be redelivered"
            ),
            Err(_) => warn!(
                "the last acknowledgements may be lost, because the server does not answer: \
                 their messages will be redelivered"
            ),
        }
    }

    async fn open_once(
        jetstream: &Context,
        settings: &StreamsSettings,
    ) -> Result<Self, StreamsError> {
        // Each step is boxed: their futures are large.
        let streams = Box::pin(open_streams(jetstream, settings)).await?;
        let consumers = Box::pin(open_consumers(&streams, settings)).await?;
        let buckets = Box::pin(open_buckets(jetstream, settings)).await?;
        let (objects, models) = Box::pin(open_stores(jetstream, settings)).await?;
        let (
            Ok([uploads, frames, results, summaries, tracks, stills, advisories, dead, audit]),
            Ok([ingest, aggregator, exhausted]),
            Ok([videos, attempts, requests, folds]),
        ) = (
            <[Stream; 9]>::try_from(streams),
            <[Consumer<pull::Config>; 3]>::try_from(consumers),
            <[kv::Store; 4]>::try_from(buckets),
        )
        else {
            unreachable!("one is opened for each configuration")
        };
        let storage = Storage::of(
            jetstream.client(),
            &settings.api(),
            [&uploads, &frames, &results, &summaries, &tracks, &stills, &advisories, &dead, &audit]
                .into_iter()
                .chain([&videos, &attempts, &requests, &folds].map(|bucket| &bucket.stream))
                .chain([objects.stream(), models.stream()]),
        );
        Ok(Self(Arc::new(OpenStreams {
            storage,
            api: settings.api().into(),
            jetstream: jetstream.clone(),
            publisher: Publisher::new(jetstream.clone()),
            objects,
            models: Models::new(models),
            requests,
            folds,
            uploads,
            frames,
            results,
            summaries,
            tracks,
            stills,
            advisories,
            dead,
            audit,
            videos,
            attempts,
            ingest,
            aggregator,
            exhausted,
            settings: settings.clone(),
        })))
    }
}

async fn open_streams(
    jetstream: &Context,
    settings: &StreamsSettings,
) -> Result<Vec<Stream>, StreamsError> {
    let server = jetstream.client().server_info().version;
    check::version(&server, settings.replicas)?;
    let mut streams = Vec::new();
    for config in settings.stream_configs() {
        let what = format!("stream {}", config.name);
        let stream = jetstream.get_or_create_stream(config.clone()).await.map_err(|error| {
            match error.kind() {
                CreateStreamErrorKind::JetStream(reason) if !may_pass(&reason) => {
                    refused(&what, &reason, settings)
                }
                _ => unavailable(&what)(error),
            }
        })?;
        let stream = Box::pin(upgrade::frames_queue(jetstream, stream, &config)).await?;
        let stream = Box::pin(upgrade::additions(jetstream, stream, &config)).await?;
        let found = &stream.cached_info().config;
        check::version(&server, found.num_replicas)?;
        check::stream(&what, found, &config)?;
        streams.push(stream);
    }
    Ok(streams)
}

async fn open_consumers(
    streams: &[Stream],
    settings: &StreamsSettings,
) -> Result<Vec<Consumer<pull::Config>>, StreamsError> {
    let mut opened = Vec::new();
    for (stream, config) in settings.consumer_configs() {
        let name = config.durable_name.clone().unwrap_or_default();
        let what = format!("consumer {name} of stream {stream}");
        let stream = streams
            .iter()
            .find(|s| s.cached_info().config.name == stream)
            .ok_or("not opened")
            .map_err(unavailable(&what))?;
        let consumer = Box::pin(consumers::open(stream, &what, config, settings)).await?;
        opened.push(consumer);
    }
    Ok(opened)
}

async fn open_buckets(
    jetstream: &Context,
    settings: &StreamsSettings,
) -> Result<Vec<kv::Store>, StreamsError> {
    let mut buckets = Vec::new();
    for config in settings.bucket_configs() {
        buckets.push(bucket(jetstream, config).await?);
    }
    Ok(buckets)
}

async fn open_stores(
    jetstream: &Context,
    settings: &StreamsSettings,
) -> Result<(Objects, Objects), StreamsError> {
    let [uploads, models] = settings.store_configs();
    let uploads = object_store(jetstream, uploads, settings).await?;
    Ok((uploads, object_store(jetstream, models, settings).await?))
}

/// Fails if no service has used the server yet.
pub async fn check_used(jetstream: &Context) -> Result<(), StreamsError> {
    match jetstream.get_stream(UPLOADS).await {
        Ok(_) => Ok(()),
        Err(error) => match error.kind() {
            GetStreamErrorKind::JetStream(reason)
                if reason.error_code() == ErrorCode::STREAM_NOT_FOUND =>
            {
                Err(StreamsError::Unused)
            }
            _ => Err(unavailable(format!("stream {UPLOADS}"))(error)),
        },
    }
}

fn jetstream(client: Client, settings: &StreamsSettings, publishes_in_flight: usize) -> Context {
    ContextBuilder::new()
        .api_prefix(settings.api())
        .timeout(API_TIMEOUT)
        .ack_timeout(API_TIMEOUT)
        .max_ack_inflight(publishes_in_flight)
        .build(client)
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

async fn object_store(
    jetstream: &Context,
    (bucket, config): (&'static str, object_store::Config),
    settings: &StreamsSettings,
) -> Result<Objects, StreamsError> {
    let what = format!("object store {bucket}");
    let max_age = config.max_age;
    if jetstream.get_object_store(bucket).await.is_err() {
        jetstream.create_object_store(config).await.map_err(unavailable(&what))?;
    }
    let api = settings.api().into();
    let objects =
        Objects::open(jetstream.clone(), api, bucket).await.map_err(unavailable(&what))?;
    check::bucket(&what, &objects.stream().cached_info().config, settings.replicas, max_age);
    Ok(objects)
}

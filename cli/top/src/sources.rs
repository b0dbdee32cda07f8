//! Reads the figures: what the server reports about streams and consumers, the entries of videos,
//! and results as they are published.
//!
//! Nothing here creates or consumes anything: `top` does not change what it shows.

use std::time::{Duration, Instant, SystemTime};

use async_nats::Client;
use async_nats::connection::State as Connection;
use async_nats::jetstream::Context;
use async_nats::jetstream::consumer;
use async_nats::jetstream::context::{
    ConsumerInfoError, ContextBuilder, GetStreamError, GetStreamErrorKind, KeyValueError,
};
use async_nats::jetstream::stream::{
    ConsumersError, LastRawMessageError, LastRawMessageErrorKind, Stream,
};
use futures_util::{StreamExt, TryStreamExt};
use moliceiro_nats::messages::{Event, VideoEvent, from_cbor};
use moliceiro_nats::subjects::{
    AGGREGATOR_CONSUMER, ALL_ALARMS, ALL_DETECTIONS, DEAD, FRAMES, INGEST_CONSUMER, RESULTS,
    SUMMARIES, UPLOADS, VIDEOS_BUCKET,
};
use moliceiro_nats::videos::{VideoChanges, watch_all};
use moliceiro_nats::{StreamsError, VideoChange, VideoError, VideoId};
use thiserror::Error;
use tokio::sync::watch;

use crate::queues::{LastAlarm, Queues, StreamLevel};
use crate::state::State;

const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);
const PAUSE_AFTER_ERROR: Duration = Duration::from_secs(1);
const CONNECTION_POLL_INTERVAL: Duration = Duration::from_millis(200);

/// Keeps the state up to date for as long as it is polled.
/// `api` is how the subjects of requests to JetStream begin.
pub(crate) async fn follow(
    client: Client,
    api: String,
    interval: Duration,
    state: &watch::Sender<State>,
) {
    let jetstream =
        ContextBuilder::new().api_prefix(api).timeout(REQUEST_TIMEOUT).build(client.clone());
    tokio::join!(
        connection(&client, state),
        results(&client, state),
        videos(&jetstream, state),
        queues(&jetstream, interval, state)
    );
}

async fn connection(client: &Client, state: &watch::Sender<State>) {
    let mut ticks = tokio::time::interval(CONNECTION_POLL_INTERVAL);
    loop {
        ticks.tick().await;
        let connected = client.connection_state() == Connection::Connected;
        state.send_if_modified(|state| {
            std::mem::replace(&mut state.connected, connected) != connected
        });
    }
}

/// A subscription survives a lost connection; it only misses what is published meanwhile.
async fn results(client: &Client, state: &watch::Sender<State>) {
    loop {
        if let Ok(mut results) = client.subscribe(ALL_DETECTIONS).await {
            while let Some(message) = results.next().await {
                if let Ok(VideoEvent { event: Event::Frame(result), .. }) =
                    from_cbor(&message.payload)
                {
                    state.send_modify(|state| state.record_result(Instant::now(), &result));
                }
            }
        }
        tokio::time::sleep(PAUSE_AFTER_ERROR).await;
    }
}

async fn videos(jetstream: &Context, state: &watch::Sender<State>) {
    loop {
        match changes(jetstream).await {
            Ok(changes) => follow_changes(changes, state).await,
            // No service has used the server yet; `queues` reports that.
            Err(_) => state.send_modify(State::videos_loaded),
        }
        tokio::time::sleep(PAUSE_AFTER_ERROR).await;
    }
}

async fn changes(jetstream: &Context) -> Result<VideoChanges, SampleError> {
    let bucket = jetstream.get_key_value(VIDEOS_BUCKET).await?;
    Ok(watch_all(jetstream, &bucket).await?)
}

/// Records changes until the watch fails.
async fn follow_changes(mut changes: VideoChanges, state: &watch::Sender<State>) {
    state.send_modify(State::reset_videos);
    while let Some(change) = changes.next().await {
        if matches!(change, Err(VideoError::Unavailable { .. })) {
            return;
        }
        state.send_modify(|state| match change {
            Ok(VideoChange::Written(stored)) => {
                state.videos.update(Instant::now(), &stored.entry, stored.written_at);
            }
            Ok(VideoChange::Deleted(key)) => state.videos.remove(&key),
            Ok(VideoChange::Loaded) => state.videos_loaded(),
            Err(_) => state.unreadable += 1,
        });
    }
}

async fn queues(jetstream: &Context, interval: Duration, state: &watch::Sender<State>) {
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let sampled = sample(jetstream).await;
        state.send_modify(|state| match sampled {
            Ok((queues, max_age)) => state.sample(Instant::now(), queues, Some(max_age)),
            Err(error) => state.problem = Some(error.to_string()),
        });
    }
}

/// Why a sample failed.
#[derive(Debug, Error)]
enum SampleError {
    #[error(transparent)]
    Unused(#[from] StreamsError),
    #[error("stream {0}: {1}")]
    Stream(&'static str, GetStreamError),
    #[error("consumer {0}: {1}")]
    Consumer(&'static str, ConsumerInfoError),
    #[error("consumers of stream {FRAMES}: {0}")]
    Consumers(ConsumersError),
    #[error(transparent)]
    Bucket(#[from] KeyValueError),
    #[error(transparent)]
    Videos(#[from] VideoError),
    #[error(transparent)]
    LastAlarm(#[from] LastRawMessageError),
}

/// What the server reports now, and how long it keeps video entries.
async fn sample(jetstream: &Context) -> Result<(Queues, Duration), SampleError> {
    let (uploads, frames, results) = tokio::try_join!(
        stream(jetstream, UPLOADS),
        stream(jetstream, FRAMES),
        stream(jetstream, RESULTS)
    )?;
    let (summaries, dead_letters) =
        tokio::try_join!(stream(jetstream, SUMMARIES), stream(jetstream, DEAD))?;
    let consumer = |stream: Stream, name: &'static str| async move {
        stream.consumer_info(name).await.map_err(|error| SampleError::Consumer(name, error))
    };
    let (ingest, detectors, aggregator, last_alarm, bucket) = tokio::try_join!(
        consumer(uploads, INGEST_CONSUMER),
        consumers(&frames),
        consumer(results, AGGREGATOR_CONSUMER),
        last_alarm(&summaries),
        async { Ok(jetstream.get_key_value(VIDEOS_BUCKET).await?) },
    )?;
    let info = frames.cached_info();
    let queues = Queues {
        frames: level(&frames),
        frames_per_video: u64::try_from(info.config.max_messages_per_subject)
            .ok()
            .filter(|limit| *limit > 0),
        frames_published: info.state.last_sequence,
        frames_waiting: detectors.iter().map(|of| of.num_pending).sum(),
        frames_in_flight: detectors.iter().map(|of| of.num_ack_pending as u64).sum(),
        redelivered: detectors.iter().map(|of| of.num_redelivered as u64).sum(),
        pulls: detectors.iter().map(|of| of.num_waiting as u64).sum(),
        uploads_waiting: ingest.num_pending,
        uploads_in_flight: ingest.num_ack_pending as u64,
        results_waiting: aggregator.num_pending + aggregator.num_ack_pending as u64,
        dead_letters: dead_letters.cached_info().state.messages,
        last_alarm,
    };
    Ok((queues, bucket.stream.cached_info().config.max_age))
}

/// The consumers of the frame queue, one for each model.
async fn consumers(frames: &Stream) -> Result<Vec<consumer::Info>, SampleError> {
    frames.consumers().try_collect().await.map_err(SampleError::Consumers)
}

async fn stream(jetstream: &Context, name: &'static str) -> Result<Stream, SampleError> {
    jetstream.get_stream(name).await.map_err(|error| match error.kind() {
        GetStreamErrorKind::JetStream(_) => SampleError::Unused(StreamsError::Unused),
        _ => SampleError::Stream(name, error),
    })
}

fn level(stream: &Stream) -> StreamLevel {
    let info = stream.cached_info();
    let oldest =
        SystemTime::now().duration_since(info.state.first_timestamp.into()).unwrap_or_default();
    StreamLevel {
        messages: info.state.messages,
        bytes: info.state.bytes,
        max_bytes: u64::try_from(info.config.max_bytes).ok().filter(|limit| *limit > 0),
        oldest: (info.state.messages > 0).then_some(oldest),
    }
}

async fn last_alarm(summaries: &Stream) -> Result<Option<LastAlarm>, SampleError> {
    match summaries.get_last_raw_message_by_subject(ALL_ALARMS).await {
        Ok(message) => {
            let age = SystemTime::now().duration_since(message.time.into()).unwrap_or_default();
            Ok(VideoId::of_subject(&message.subject)
                .map(|video| LastAlarm { video: video.to_string(), age }))
        }
        Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

//! Where the figures come from: the server's own accounts, the entries of videos, and results as
//! they pass by.
//!
//! Nothing here creates or consumes anything: who looks on changes nothing.

use std::fmt::Display;
use std::time::{Duration, Instant, SystemTime};

use async_nats::Client;
use async_nats::connection::State as Connection;
use async_nats::jetstream::Context;
use async_nats::jetstream::context::ContextBuilder;
use async_nats::jetstream::kv::{Entry, Operation, Watch};
use async_nats::jetstream::stream::{LastRawMessageErrorKind, Stream};
use futures_util::StreamExt;
use moliceiro_nats::VideoId;
use moliceiro_nats::messages::{Event, VideoEntry, VideoEvent, from_cbor, from_json};
use moliceiro_nats::subjects::{
    AGGREGATOR_CONSUMER, DEAD, DETECTORS_CONSUMER, FRAMES, INGEST_CONSUMER, RESULTS, SUMMARIES,
    UPLOADS, VIDEOS_BUCKET,
};
use tokio::sync::watch;

use super::state::{Alarm, Fill, Queues, State};

const PATIENCE: Duration = Duration::from_secs(2);
const PAUSE_AFTER_ERROR: Duration = Duration::from_secs(1);
const CONNECTION_LOOK: Duration = Duration::from_millis(200);

/// Keeps the state true for as long as it is polled.
pub(crate) async fn follow(client: Client, interval: Duration, state: &watch::Sender<State>) {
    let jetstream = ContextBuilder::new().timeout(PATIENCE).build(client.clone());
    tokio::join!(
        connection(&client, state),
        results(&client, state),
        videos(&jetstream, state),
        queues(&jetstream, interval, state)
    );
}

async fn connection(client: &Client, state: &watch::Sender<State>) {
    let mut looks = tokio::time::interval(CONNECTION_LOOK);
    loop {
        looks.tick().await;
        let connected = client.connection_state() == Connection::Connected;
        state.send_if_modified(|state| {
            std::mem::replace(&mut state.connected, connected) != connected
        });
    }
}

/// A subscription survives a lost connection; only what passes meanwhile is not seen.
async fn results(client: &Client, state: &watch::Sender<State>) {
    loop {
        if let Ok(mut results) = client.subscribe("results.*").await {
            while let Some(message) = results.next().await {
                if let Ok(VideoEvent { event: Event::Frame(result), .. }) =
                    from_cbor(&message.payload)
                {
                    state.send_modify(|state| state.looked_at(Instant::now(), &result));
                }
            }
        }
        tokio::time::sleep(PAUSE_AFTER_ERROR).await;
    }
}

async fn videos(jetstream: &Context, state: &watch::Sender<State>) {
    loop {
        match entries(jetstream).await {
            Ok((watch, empty)) => follow_entries(watch, empty, state).await,
            // No service has been here yet: `queues` says so.
            Err(_) => state.send_modify(State::videos_loaded),
        }
        tokio::time::sleep(PAUSE_AFTER_ERROR).await;
    }
}

async fn entries(jetstream: &Context) -> Result<(Watch, bool), String> {
    let store = jetstream.get_key_value(VIDEOS_BUCKET).await.map_err(text)?;
    let empty = store.status().await.map_err(text)?.values() == 0;
    Ok((store.watch_with_history(">").await.map_err(text)?, empty))
}

async fn follow_entries(mut watch: Watch, empty: bool, state: &watch::Sender<State>) {
    state.send_modify(State::forget_videos);
    if empty {
        state.send_modify(State::videos_loaded);
    }
    while let Some(Ok(entry)) = watch.next().await {
        let last = entry.seen_current;
        state.send_modify(|state| {
            note(state, entry);
            if last {
                state.videos_loaded();
            }
        });
    }
}

fn note(state: &mut State, entry: Entry) {
    if entry.operation != Operation::Put {
        return state.forget_video(&entry.key);
    }
    match from_json::<VideoEntry>(&entry.value) {
        Ok(video) => state.video(Instant::now(), &video, entry.created.into()),
        Err(_) => state.unreadable += 1,
    }
}

async fn queues(jetstream: &Context, interval: Duration, state: &watch::Sender<State>) {
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let sampled = sample(jetstream).await;
        state.send_modify(|state| match sampled {
            Ok((queues, keep)) => state.sample(Instant::now(), queues, keep),
            Err(reason) => state.trouble = Some(reason),
        });
    }
}

/// What the server says now, and how long entries of videos are kept.
async fn sample(jetstream: &Context) -> Result<(Queues, Option<Duration>), String> {
    let (uploads, frames, results) = tokio::try_join!(
        stream(jetstream, UPLOADS),
        stream(jetstream, FRAMES),
        stream(jetstream, RESULTS)
    )?;
    let (summaries, dead) =
        tokio::try_join!(stream(jetstream, SUMMARIES), stream(jetstream, DEAD))?;
    let consumer = |stream: Stream, name: &'static str| async move {
        stream.consumer_info(name).await.map_err(|error| format!("consumer {name}: {error}"))
    };
    let (ingest, detectors, aggregator, alarm, bucket) = tokio::try_join!(
        consumer(uploads, INGEST_CONSUMER),
        consumer(frames.clone(), DETECTORS_CONSUMER),
        consumer(results, AGGREGATOR_CONSUMER),
        last_alarm(&summaries),
        async { jetstream.get_key_value(VIDEOS_BUCKET).await.map_err(text) },
    )?;
    let info = frames.cached_info();
    let queues = Queues {
        frames: fill(&frames),
        frames_per_video: u64::try_from(info.config.max_messages_per_subject)
            .ok()
            .filter(|most| *most > 0),
        published: info.state.last_sequence,
        frames_waiting: detectors.num_pending,
        frames_in_hand: detectors.num_ack_pending as u64,
        redelivered: detectors.num_redelivered as u64,
        pulls: detectors.num_waiting as u64,
        uploads_waiting: ingest.num_pending,
        uploads_in_work: ingest.num_ack_pending as u64,
        results_waiting: aggregator.num_pending + aggregator.num_ack_pending as u64,
        dead: dead.cached_info().state.messages,
        alarm,
    };
    Ok((queues, Some(bucket.stream.cached_info().config.max_age)))
}

async fn stream(jetstream: &Context, name: &'static str) -> Result<Stream, String> {
    use async_nats::jetstream::context::GetStreamErrorKind::JetStream;
    jetstream.get_stream(name).await.map_err(|error| match error.kind() {
        JetStream(_) => {
            format!("there is no stream {name}: has a service used this server yet? ({error})")
        }
        _ => format!("stream {name}: {error}"),
    })
}

fn fill(stream: &Stream) -> Fill {
    let info = stream.cached_info();
    let oldest =
        SystemTime::now().duration_since(info.state.first_timestamp.into()).unwrap_or_default();
    Fill {
        messages: info.state.messages,
        bytes: info.state.bytes,
        limit: u64::try_from(info.config.max_bytes).ok().filter(|limit| *limit > 0),
        oldest: (info.state.messages > 0).then_some(oldest),
    }
}

async fn last_alarm(summaries: &Stream) -> Result<Option<Alarm>, String> {
    match summaries.get_last_raw_message_by_subject("alarms.*").await {
        Ok(message) => {
            let age = SystemTime::now().duration_since(message.time.into()).unwrap_or_default();
            Ok(VideoId::of_subject(&message.subject)
                .map(|video| Alarm { video: video.to_string(), age }))
        }
        Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
        Err(error) => Err(text(error)),
    }
}

fn text(error: impl Display) -> String {
    error.to_string()
}

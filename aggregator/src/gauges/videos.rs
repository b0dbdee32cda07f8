use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use async_nats::jetstream::kv::{Entry, Operation, Watch, WatcherError};
use futures_util::StreamExt;
use moliceiro_nats::Streams;
use moliceiro_nats::messages::VideoState;
use serde::Deserialize;
use tracing::debug;

use crate::metrics::Metrics;

/// What the gauges need of a video's entry.
#[derive(Deserialize)]
struct EntryState {
    state: VideoState,
}

/// The videos of the bucket, each with its state and when its entry was written.
type Videos = HashMap<String, (VideoState, SystemTime)>;

pub(super) async fn watch(
    streams: &Streams,
    keep: Duration,
    interval: Duration,
    metrics: &Metrics,
) -> ! {
    let mut ticks = tokio::time::interval(interval);
    loop {
        ticks.tick().await;
        match streams.videos.watch_with_history(">").await {
            Ok(entries) => {
                if let Err(error) = follow(entries, keep, interval, metrics).await {
                    debug!(%error, "watching the videos' states failed; retrying");
                }
            }
            Err(error) => debug!(%error, "cannot watch the videos' states; retrying"),
        }
    }
}

/// Exports each change until the watch ends.
async fn follow(
    mut entries: Watch,
    keep: Duration,
    interval: Duration,
    metrics: &Metrics,
) -> Result<(), WatcherError> {
    let mut videos = Videos::new();
    let mut ticks = tokio::time::interval(interval);
    loop {
        tokio::select! {
            next = entries.next() => match next {
                Some(entry) => update(&mut videos, entry?),
                None => return Ok(()),
            },
            _ = ticks.tick() => {
                // The bucket does not announce which entries it drops because of their age.
                videos.retain(|_, (_, written)| age(*written) <= keep);
                export(&videos, metrics);
            }
        }
    }
}

fn update(videos: &mut Videos, entry: Entry) {
    match (entry.operation, serde_json::from_slice::<EntryState>(&entry.value)) {
        (Operation::Put, Ok(EntryState { state })) => {
            videos.insert(entry.key, (state, entry.created.into()))
        }
        _ => videos.remove(&entry.key),
    };
}

fn export(videos: &Videos, metrics: &Metrics) {
    let states: Vec<_> = videos.values().map(|(state, _)| *state).collect();
    // A video that waits for an ingest has no events.
    let in_progress =
        videos.values().filter(|(state, _)| !state.is_final() && *state != VideoState::Queued);
    let longest_silence = in_progress.map(|(_, written)| age(*written)).max().unwrap_or_default();
    metrics.videos(&states, longest_silence);
}

fn age(written: SystemTime) -> Duration {
    SystemTime::now().duration_since(written).unwrap_or_default()
}

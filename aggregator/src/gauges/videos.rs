use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, SystemTime};

use async_nats::jetstream::kv::{Entry, Operation, Watch};
use futures_util::StreamExt;
use moliceiro_nats::Streams;
use moliceiro_nats::messages::VideoState;
use serde::Deserialize;
use tracing::debug;

use super::INTERVAL;
use crate::metrics::METRICS;

/// The states in which a video stays.
pub(crate) const FINAL_STATES: [&str; 4] = ["done", "incomplete", "failed", "cancelled"];
const STATES: [VideoState; 7] = [
    VideoState::Queued,
    VideoState::Decoding,
    VideoState::Counting,
    VideoState::Done,
    VideoState::Incomplete,
    VideoState::Failed,
    VideoState::Cancelled,
];

/// What the gauges need of a video's entry.
#[derive(Deserialize)]
struct Known {
    state: VideoState,
}

/// The videos of the bucket, each with its state and when its entry was written.
type Videos = HashMap<String, (VideoState, SystemTime)>;

pub(super) async fn watch(streams: &Streams, keep: Duration) -> ! {
    let mut ticks = tokio::time::interval(INTERVAL);
    loop {
        ticks.tick().await;
        let watched = match streams.videos.watch_with_history(">").await {
            Ok(entries) => follow(entries, keep).await,
            Err(error) => Err(error.to_string()),
        };
        if let Err(error) = watched {
            debug!(error, "the videos' states cannot be watched; trying again");
        }
    }
}

/// Shows each change, until the bucket gives no more.
async fn follow(mut entries: Watch, keep: Duration) -> Result<(), String> {
    let mut videos = Videos::new();
    let mut ticks = tokio::time::interval(INTERVAL);
    loop {
        tokio::select! {
            next = entries.next() => match next {
                Some(entry) => note(&mut videos, entry.map_err(|error| error.to_string())?),
                None => return Ok(()),
            },
            _ = ticks.tick() => {
                // The bucket says nothing of what it drops for its age.
                videos.retain(|_, (_, written)| age(*written) <= keep);
                show(&videos);
            }
        }
    }
}

fn note(videos: &mut Videos, entry: Entry) {
    match (entry.operation, serde_json::from_slice::<Known>(&entry.value)) {
        (Operation::Put, Ok(known)) => {
            videos.insert(entry.key, (known.state, entry.created.into()))
        }
        _ => videos.remove(&entry.key),
    };
}

fn show(videos: &Videos) {
    let mut by_state: BTreeMap<_, i64> = STATES.iter().map(|state| (state.name(), 0)).collect();
    for (state, _) in videos.values() {
        *by_state.entry(state.name()).or_insert(0) += 1;
    }
    for (state, n) in by_state {
        METRICS.videos.with_label_values(&[state]).set(n);
    }
    // Nothing is to be heard of a video that waits for an ingest.
    let unfinished =
        videos.values().filter(|(state, _)| !state.is_final() && *state != VideoState::Queued);
    let longest = unfinished.map(|(_, written)| age(*written)).max().unwrap_or_default();
    METRICS.oldest_silence.set(longest.as_secs_f64());
}

fn age(written: SystemTime) -> Duration {
    SystemTime::now().duration_since(written).unwrap_or_default()
}

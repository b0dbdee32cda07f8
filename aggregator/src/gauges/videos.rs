use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use futures_util::StreamExt;
use moliceiro_nats::messages::VideoState;
use moliceiro_nats::videos::VideoChanges;
use moliceiro_nats::{Streams, VideoChange, VideoError};
use tracing::debug;

use crate::metrics::Metrics;

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
        match streams.videos().watch_all().await {
            Ok(changes) => {
                if let Err(error) = follow(changes, keep, interval, metrics).await {
                    debug!(%error, "watching the videos' states failed; retrying");
                }
            }
            Err(error) => debug!(%error, "cannot watch the videos' states; retrying"),
        }
    }
}

/// Exports each change until the watch ends.
async fn follow(
    mut changes: VideoChanges,
    keep: Duration,
    interval: Duration,
    metrics: &Metrics,
) -> Result<(), VideoError> {
    let mut videos = Videos::new();
    let mut ticks = tokio::time::interval(interval);
    loop {
        tokio::select! {
            next = changes.next() => match next {
                Some(change) => update(&mut videos, change)?,
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

fn update(videos: &mut Videos, change: Result<VideoChange, VideoError>) -> Result<(), VideoError> {
    match change {
        Ok(VideoChange::Written(stored)) => {
            let key = stored.entry.video.to_string();
            videos.insert(key, (stored.entry.state, stored.written_at));
        }
        Ok(VideoChange::Deleted(key)) | Err(VideoError::Malformed { key, .. }) => {
            videos.remove(&key);
        }
        Ok(VideoChange::Loaded) => {}
        Err(error @ VideoError::Unavailable { .. }) => return Err(error),
    }
    Ok(())
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

//! Deletes the bytes of uploads: a while after the summary, when no repair needs them any more.

use std::collections::HashMap;
use std::time::Duration;

use moliceiro_nats::messages::{VideoEntry, milliseconds_now};
use moliceiro_nats::{Streams, VideoId, objects};
use tracing::warn;
use url::Url;

/// Videos whose bytes may still be stored.
#[derive(Default)]
pub(super) struct FinishedUploads(HashMap<VideoId, Finished>);

struct Finished {
    uri: Url,
    /// In milliseconds since 1970-01-01 UTC.
    at: u64,
}

impl FinishedUploads {
    /// Notes the bytes of a video whose summary is published.
    pub(super) fn add(&mut self, entry: &VideoEntry) {
        let uri = entry.started.uri.parse::<Url>().ok();
        if let Some(uri) = uri.filter(|uri| uri.scheme() == objects::SCHEME) {
            let at = entry.finished_at.unwrap_or(0);
            self.0.insert(entry.video.clone(), Finished { uri, at });
        }
    }

    /// The videos whose bytes are kept no longer.
    pub(super) fn expired(&self, keep: Duration) -> Vec<VideoId> {
        let keep = u64::try_from(keep.as_millis()).unwrap_or(u64::MAX);
        let now = milliseconds_now();
        let is_expired = |of: &Finished| of.at.saturating_add(keep) <= now;
        self.0.iter().filter(|(_, of)| is_expired(of)).map(|(video, _)| video.clone()).collect()
    }

    /// Deletes the bytes of these videos, except those that are needed.
    pub(super) async fn delete(
        &mut self,
        streams: &Streams,
        videos: Vec<VideoId>,
        is_needed: impl Fn(&str) -> bool,
    ) {
        for video in videos {
            let Some(Finished { uri, .. }) = self.0.get(&video) else { continue };
            if is_needed(uri.as_str()) {
                continue;
            }
            match streams.objects.remove_of(uri, video.as_str()).await {
                Ok(()) => drop(self.0.remove(&video)),
                Err(error) => {
                    warn!(%video, %error, "cannot delete an uploaded video's bytes; retrying");
                }
            }
        }
    }
}

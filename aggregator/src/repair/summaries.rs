//! Publishes summaries again that were lost after they were published.

use std::collections::HashMap;

use moliceiro_nats::messages::{VideoEntry, milliseconds_now};
use moliceiro_nats::{Streams, VideoId};

use super::RepairError;
use crate::metrics::Metrics;
use crate::summary_publisher::publish_summary;

/// Older ones may have been removed to make space.
const RECENT_MS: u64 = 60 * 60 * 1000;

/// Videos whose summary was published lately.
#[derive(Default)]
pub(super) struct RecentSummaries(HashMap<VideoId, u64>);

impl RecentSummaries {
    /// Notes a video whose summary is published.
    pub(super) fn add(&mut self, entry: &VideoEntry) {
        if let Some(at) = entry.finished_at.filter(|at| is_recent(*at)) {
            self.0.insert(entry.video.clone(), at);
        }
    }

    /// Publishes those that are not stored any more, each once.
    pub(super) async fn restore(
        &mut self,
        streams: &Streams,
        metrics: &Metrics,
    ) -> Result<(), RepairError> {
        self.0.retain(|_, at| is_recent(*at));
        if self.0.is_empty() {
            return Ok(());
        }
        let stored = streams.videos().summarised().await?;
        let lost: Vec<_> =
            self.0.keys().filter(|video| !stored.contains(*video)).cloned().collect();
        for video in lost {
            let entry = streams.videos().entry(&video).await?;
            let summary = entry.filter(|entry| entry.summary_published);
            let is_done = match summary.and_then(|entry| entry.summary) {
                Some(summary) => publish_summary(streams, metrics, &summary).await?,
                None => true,
            };
            if is_done {
                self.0.remove(&video);
            }
        }
        Ok(())
    }
}

fn is_recent(at: u64) -> bool {
    milliseconds_now().saturating_sub(at) < RECENT_MS
}

use std::collections::{BTreeSet, HashSet};

use futures_util::TryStreamExt;
use moliceiro_nats::messages::VideoEntry;
use moliceiro_nats::{Streams, VideoError, VideoId};

/// The live sources of a run, and the windows of theirs whose summaries are to come.
#[derive(Default)]
pub(super) struct LiveWindows {
    sources: BTreeSet<VideoId>,
    open: BTreeSet<VideoId>,
    printed: BTreeSet<VideoId>,
}

impl LiveWindows {
    /// False if the source was known.
    pub(super) fn add_source(&mut self, source: VideoId) -> bool {
        self.sources.insert(source)
    }

    pub(super) fn sources(&self) -> impl Iterator<Item = &VideoId> {
        self.sources.iter()
    }

    pub(super) fn contains(&self, video: &VideoId) -> bool {
        self.sources.iter().any(|source| video.is_window_of(source))
    }

    /// True if every known window is printed.
    pub(super) fn are_printed(&self) -> bool {
        self.open.is_empty()
    }

    pub(super) fn update(&mut self, entry: &VideoEntry) {
        // Entries may arrive later than the summaries that belong to them.
        if !entry.summary_published && !self.printed.contains(&entry.video) {
            self.open.insert(entry.video.clone());
        }
    }

    pub(super) fn set_printed(&mut self, window: &VideoId) {
        self.open.remove(window);
        if self.contains(window) {
            self.printed.insert(window.clone());
        }
    }

    /// Finds the windows of a source that has ended: the source's summary may come before theirs,
    /// and before the news of their entries.
    ///
    /// Summaries up to the stream sequence `last_earlier`, and those in `received`, are not waited
    /// for.
    pub(super) async fn find_all(
        &mut self,
        streams: &Streams,
        source: &VideoId,
        last_earlier: u64,
        received: &HashSet<u64>,
    ) -> Result<(), VideoError> {
        let mut entries = std::pin::pin!(streams.videos().entries());
        loop {
            let entry = match entries.try_next().await {
                Ok(Some(stored)) => stored.entry,
                Ok(None) => return Ok(()),
                Err(VideoError::Malformed { .. }) => continue,
                Err(error) => return Err(error),
            };
            if !entry.video.is_window_of(source) || self.printed.contains(&entry.video) {
                continue;
            }
            let to_come = !entry.summary_published || {
                let published = streams.videos().summary_sequence(&entry.video).await?;
                published.is_some_and(|at| at > last_earlier && !received.contains(&at))
            };
            if to_come {
                self.open.insert(entry.video);
            }
        }
    }
}

//! Which videos are not finished, and how long each has not moved.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use futures_util::StreamExt;
use moliceiro_nats::messages::VideoEntry;
use moliceiro_nats::{StoredEntry, Streams, VideoError, VideoId};
use tokio::time::Instant;

/// How often the log is searched for videos without an entry, at most.
const LEAST_PAUSE: Duration = Duration::from_secs(1);
/// A server that was restarted has lost the frames that were in its memory.
const PAUSE_AFTER_RESTART: Duration = Duration::from_secs(2);

#[derive(Default)]
pub(super) struct Watch {
    unfinished: HashMap<VideoId, Unfinished>,
    /// Videos that have an entry, or had one, as long as the log has something of them.
    known: HashSet<VideoId>,
    /// Entries before this revision were read.
    next_revision: u64,
    /// The run of the server that they were read from.
    server: String,
    /// The server was started after the last complete update.
    is_restarted: bool,
    searched_at: Option<Instant>,
}

struct Unfinished {
    /// That of its entry; `None` if it does not have one that can be read.
    revision: Option<u64>,
    since: Instant,
    uri: Option<String>,
    /// It was unfinished when the server was started, and can be decoded again.
    may_lack_frames: bool,
    is_window: bool,
}

impl Watch {
    /// Reads what was written since the last call, and now and then which videos have results:
    /// then it returns true. `on_finished` gets the entries of finished videos.
    pub(super) async fn update(
        &mut self,
        streams: &Streams,
        pause: Duration,
        mut on_finished: impl FnMut(&VideoEntry),
    ) -> Result<bool, VideoError> {
        let videos = streams.videos();
        let last = videos.last_revision().await?;
        let server = streams.jetstream.client().server_info().server_id;
        self.is_restarted |= server != self.server;
        if self.is_restarted || last + 1 < self.next_revision {
            // The bucket may be an older one, or a new one: power was lost.
            self.next_revision = 0;
            self.known.clear();
            self.server = server;
        }
        let is_restarted = self.is_restarted;
        self.unfinished
            .values_mut()
            .for_each(|of| of.may_lack_frames |= is_restarted && !of.is_window);
        if last >= self.next_revision {
            let mut entries = Box::pin(videos.entries_since(self.next_revision.max(1)));
            while let Some(entry) = entries.next().await {
                match entry {
                    Ok(stored) => self.read(stored, &mut on_finished),
                    Err(VideoError::Malformed { key, .. }) => self.damaged(key),
                    Err(error) => return Err(error),
                }
            }
            self.next_revision = last + 1;
        }
        self.is_restarted = false;
        if self.searched_at.is_none_or(|at| at.elapsed() >= pause.max(LEAST_PAUSE)) {
            let logged = videos.logged().await?;
            // A video is in the log before it has an entry, so those that are missing were deleted.
            self.known.retain(|video| logged.contains(video));
            for video in logged {
                if !self.known.contains(&video) {
                    self.note(video, None, None, false);
                }
            }
            self.searched_at = Some(Instant::now());
            return Ok(true);
        }
        Ok(false)
    }

    fn read(&mut self, stored: StoredEntry, on_finished: &mut impl FnMut(&VideoEntry)) {
        let StoredEntry { entry, revision, .. } = stored;
        let (video, uri) = (entry.video.clone(), entry.started.uri.clone());
        self.known.insert(video.clone());
        if entry.summary_published {
            self.unfinished.remove(&video);
            on_finished(&entry);
        } else {
            self.note(video, Some(revision), Some(uri), entry.started.window.is_some());
        }
    }

    fn damaged(&mut self, key: String) {
        if let Ok(video) = VideoId::try_from(key) {
            self.known.insert(video.clone());
            self.note(video, None, None, false);
        }
    }

    /// A window of a live source cannot be decoded again: it is given up, and never early.
    fn note(
        &mut self,
        video: VideoId,
        revision: Option<u64>,
        uri: Option<String>,
        is_window: bool,
    ) {
        let before = self.unfinished.get(&video);
        if before.is_some_and(|known| known.revision == revision) {
            return;
        }
        let may_lack_frames =
            !is_window && (self.is_restarted || before.is_some_and(|of| of.may_lack_frames));
        let unfinished =
            Unfinished { revision, since: Instant::now(), uri, may_lack_frames, is_window };
        self.unfinished.insert(video, unfinished);
    }

    /// The videos that have not moved for so long; of those that were unfinished when the server
    /// was started, since a moment. Each is returned again after the same time.
    pub(super) fn unmoved(&mut self, time: Duration) -> Vec<VideoId> {
        let due = self.unfinished.iter_mut().filter(|(_, of)| {
            let pause = if of.may_lack_frames { time.min(PAUSE_AFTER_RESTART) } else { time };
            of.since.elapsed() >= pause
        });
        due.map(|(video, of)| {
            of.since = Instant::now();
            video.clone()
        })
        .collect()
    }

    /// The video needs no repair, or there is none for it.
    pub(super) fn finished(&mut self, video: &VideoId) {
        self.unfinished.remove(video);
        self.known.insert(video.clone());
    }

    /// Whether a video that is not finished may be decoded again from here.
    pub(super) fn needs(&self, uri: &str) -> bool {
        self.unfinished.values().any(|of| of.uri.as_deref().is_none_or(|known| known == uri))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    #[test]
    fn a_window_is_not_given_up_early_after_a_restart() {
        let mut watch = Watch { is_restarted: true, ..Watch::default() };
        let of = |name: &str| VideoId::try_from(name.to_owned()).unwrap();
        watch.note(of("film-1"), Some(1), None, false);
        watch.note(of("window-1"), Some(2), None, true);
        assert!(watch.unfinished[&of("film-1")].may_lack_frames);
        assert!(!watch.unfinished[&of("window-1")].may_lack_frames);
    }
}

//! What a video's entry says of how far the video is.

use crate::VideoEntry;

/// The figures of a video in progress.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Frames decoded and published so far.
    pub decoded: u64,
    /// Frames analysed and counted so far.
    pub counted: u64,
    /// Frames that failed so far.
    pub failed: u64,
    /// Frames to analyse in all, once that is known.
    pub total: Option<u64>,
}

impl Figures {
    /// Frames that ingest has not confirmed yet are counted in: people want to see what is done.
    pub fn of(entry: &VideoEntry) -> Self {
        let (mut counted, mut failed) = (entry.counted, entry.failed);
        for result in &entry.unconfirmed {
            *(if result.failure.is_some() { &mut failed } else { &mut counted }) += 1;
        }
        let announced = entry.announced.and_then(|frames| entry.started.choice().count(frames));
        let total = entry.ended.as_ref().map(|ended| ended.frames).or(announced);
        Self { decoded: entry.published, counted, failed, total }
    }

    /// Frames that nothing more will happen to.
    pub fn settled(&self) -> u64 {
        self.counted + self.failed
    }
}

use crate::VideoEntry;

/// How far a video is, as people want to see it: frames that ingest has not confirmed yet count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VideoProgress {
    /// Frames below this index are decoded and published.
    pub decoded: u64,
    /// Frames analysed and counted.
    pub counted: u64,
    /// Frames that failed.
    pub failed: u64,
    /// Frames to analyse: exact once all are decoded, before that from the container's announced
    /// length, if that is enough to tell.
    pub total: Option<u64>,
}

impl VideoProgress {
    /// Frames that will not change any more: counted or failed.
    pub fn settled(&self) -> u64 {
        self.counted + self.failed
    }
}

impl VideoEntry {
    /// How far the video is.
    pub fn progress(&self) -> VideoProgress {
        let unconfirmed = self.unconfirmed.len() as u64;
        let unconfirmed_failed =
            self.unconfirmed.iter().filter(|result| result.failure.is_some()).count() as u64;
        let expected = || self.started.selection.count(self.announced?);
        VideoProgress {
            decoded: self.published,
            counted: self.counted + (unconfirmed - unconfirmed_failed),
            failed: self.failed + unconfirmed_failed,
            total: self.ended.as_ref().map(|ended| ended.frames).or_else(expected),
        }
    }
}

use moliceiro_nats::messages::VideoEntry;

/// A video whose frames and end are all stored.
pub(crate) struct Published {
    pub(crate) frames: u64,
    pub(crate) problem: Option<String>,
}

/// Up to where all frames of a video are stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Watermark {
    /// Every selected frame with a smaller index is stored.
    pub below: u64,
    /// How many frames those are.
    pub frames: u64,
}

impl Watermark {
    pub(crate) fn of(entry: &VideoEntry) -> Self {
        Self { below: entry.published, frames: entry.published_frames() }
    }
}

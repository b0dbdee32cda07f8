use serde::{Deserialize, Serialize};

/// A frame that is not analysed: its index, and its presentation time in nanoseconds.
pub type CarriedFrame = (u64, Option<u64>);

/// What is published of a video whose still frames are skipped, up to an index.
///
/// Of the selected frames from `from` to below `published`, those in `runs` carry the objects of
/// another frame, and the others are in the queue of frames, or failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Carried {
    /// What holds for frames with a smaller index was reported before.
    pub from: u64,
    /// Every selected frame with a smaller index is known. A take-over resumes from here.
    pub published: u64,
    /// How many selected frames have a smaller index, carried ones included.
    pub frames: u64,
    /// Frames according to the container, which may be wrong: for progress bars only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub announced: Option<u64>,
    /// The frames that are not analysed.
    pub runs: Vec<CarriedRun>,
}

/// Frames that equal one that is analysed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CarriedRun {
    /// The index of the frame whose objects they have.
    pub source: u64,
    /// The frames, in order.
    pub frames: Vec<CarriedFrame>,
}

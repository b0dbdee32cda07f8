use moliceiro_analytics::InvalidBitmap;
use moliceiro_nats::messages::InvalidField;
use moliceiro_nats::{DetectionsError, ModelsError, VideoError, VideoId};
use thiserror::Error;

/// Why stored results cannot be folded.
#[derive(Debug, Error)]
pub enum ReplayError {
    /// The video does not have an entry.
    #[error("there is not a video {0}, or it has not been started")]
    Unknown(VideoId),
    /// The question does not fit the video.
    #[error("{} {}", .0.field(), .0)]
    Invalid(#[from] InvalidField),
    /// The video's model cannot be read.
    #[error(transparent)]
    Models(#[from] ModelsError),
    /// The entry cannot be read.
    #[error(transparent)]
    Video(#[from] VideoError),
    /// The entry has an invalid list of frames.
    #[error("the entry of the video is invalid: {0}")]
    Bitmap(#[from] InvalidBitmap),
    /// The results cannot be read.
    #[error(transparent)]
    Results(#[from] DetectionsError),
}

use std::time::Duration;

use moliceiro_nats::VideoId;
use moliceiro_nats::dead::FrameIdentity;
use moliceiro_nats::messages::{Frame, MalformedMessage, Objects, Size, milliseconds_now};
use moliceiro_vision::{Detector, FrameError, Lap, Phases};
use thiserror::Error;

/// The objects in a frame, and what of the frame its result repeats.
pub(crate) struct Analysis {
    /// Nanoseconds.
    pub pts: Option<u64>,
    /// Milliseconds since 1970-01-01 UTC.
    pub decoded_at: Option<u64>,
    /// Of the video's own upright frame.
    pub size: Size,
    pub objects: Objects,
    /// From the payload to the objects, without waiting.
    pub phases: Phases,
}

impl Analysis {
    /// Since the frame was decoded, by the clocks of both machines; zero if that is not known.
    pub fn age(&self) -> Duration {
        let age = self.decoded_at.map(|then| milliseconds_now().saturating_sub(then));
        Duration::from_millis(age.unwrap_or_default())
    }

    /// Time from the payload to the objects, in microseconds.
    pub fn processing_us(&self) -> u64 {
        u64::try_from(self.phases.total().as_micros()).unwrap_or(u64::MAX)
    }
}

/// Why a frame was not analysed.
#[derive(Debug, Error)]
pub(crate) enum AnalysisError {
    #[error(transparent)]
    Malformed(#[from] MalformedMessage),
    /// The payload belongs to another frame than the message's subject and id.
    #[error("the payload is that of frame {index} of {video}")]
    OtherFrame { index: u64, video: VideoId },
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The frame's model cannot be used.
    #[error("{0}")]
    Unusable(String),
    #[error("the model did not finish it within {} s (detector.deadline)", .0.as_secs())]
    Hung(Duration),
}

/// A frame whose analysis does not end.
#[derive(Clone, Debug, Error)]
#[error(
    "frame {} of {} is still being analysed by the model {} after {} s (detector.deadline)",
    .frame.index, .frame.video, .frame.model, .deadline.as_secs()
)]
pub struct Hung {
    frame: FrameIdentity,
    deadline: Duration,
}

impl Hung {
    pub(crate) fn new(frame: FrameIdentity, deadline: Duration) -> Self {
        Self { frame, deadline }
    }
}

impl AnalysisError {
    /// True if no detector can ever analyse the frame; else another attempt may succeed.
    pub fn is_permanent(&self) -> bool {
        match self {
            Self::Malformed(_) | Self::OtherFrame { .. } | Self::Unusable(_) => true,
            Self::Frame(error) => error.is_permanent(),
            Self::Hung(_) => false,
        }
    }
}

/// Parses the payload of frame `index` of `video`, and finds the objects in it.
pub(crate) fn analyse(
    detector: &mut Detector,
    video: &VideoId,
    index: u64,
    payload: &[u8],
) -> Result<Analysis, AnalysisError> {
    let mut lap = Lap::start();
    let frame = Frame::from_cbor(payload)?;
    if frame.video != *video || frame.index != index {
        return Err(AnalysisError::OtherFrame { index: frame.index, video: frame.video });
    }
    let parsing = lap.take();
    let (objects, mut phases) = detector.find(&frame)?;
    phases.payload += parsing;
    let Frame { pts, decoded_at, letterbox, .. } = frame;
    Ok(Analysis { pts, decoded_at, size: letterbox.source, objects, phases })
}

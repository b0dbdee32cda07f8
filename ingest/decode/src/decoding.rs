use tracing::debug;

use crate::container_info::ContainerInfo;
use crate::decoded::{DecodedFrame, DecodedVideo, UndecodableFrame};
use crate::error::DecodeError;

/// Where the decoding thread puts frames.
pub(crate) type FrameSender = async_channel::Sender<Result<DecodedFrame, UndecodableFrame>>;

/// A video that is being decoded. Dropping it stops the decoder.
#[derive(Debug)]
pub struct Decoding {
    /// The frames, in decode order. The channel closes when the outcome is known.
    pub frames: async_channel::Receiver<Result<DecodedFrame, UndecodableFrame>>,
    container_info: ContainerInfo,
    outcome: async_channel::Receiver<Result<DecodedVideo, DecodeError>>,
}

/// The decoder's end of a [`Decoding`].
pub(crate) struct DecodingSender {
    frames: FrameSender,
    container_info: ContainerInfo,
    outcome: async_channel::Sender<Result<DecodedVideo, DecodeError>>,
}

/// A decoding that buffers `queue` frames, and the end that feeds it.
pub(crate) fn channel(queue: usize) -> (DecodingSender, Decoding) {
    let (frame_sender, frames) = async_channel::bounded(queue.max(1));
    let (outcome_sender, outcome) = async_channel::bounded(1);
    let container_info = ContainerInfo::default();
    let sender = DecodingSender {
        frames: frame_sender,
        container_info: container_info.clone(),
        outcome: outcome_sender,
    };
    (sender, Decoding { frames, container_info, outcome })
}

impl Decoding {
    /// What the container declares about the video. Its values appear once the first frame is
    /// decoded.
    pub fn container_info(&self) -> ContainerInfo {
        self.container_info.clone()
    }

    /// How decoding ended. Call this after the last frame: it discards frames that were not
    /// received, and then returns [`DecodeError::Cancelled`].
    pub async fn outcome(self) -> Result<DecodedVideo, DecodeError> {
        self.frames.close();
        self.outcome.recv().await.unwrap_or(Err(DecodeError::Panicked))
    }

    /// The same as [`outcome`](Self::outcome), for callers without an async runtime.
    pub fn outcome_blocking(self) -> Result<DecodedVideo, DecodeError> {
        self.frames.close();
        self.outcome.recv_blocking().unwrap_or(Err(DecodeError::Panicked))
    }
}

impl Drop for Decoding {
    fn drop(&mut self) {
        self.frames.close();
    }
}

impl DecodingSender {
    pub(crate) fn frames(&self) -> &FrameSender {
        &self.frames
    }

    pub(crate) fn container_info(&self) -> &ContainerInfo {
        &self.container_info
    }

    /// Publishes the outcome, then closes the channel of frames: a consumer that sees the last
    /// frame never waits for the outcome.
    pub(crate) fn finish(self, outcome: Result<DecodedVideo, DecodeError>) {
        // The receiver is dropped when the video is cancelled.
        if self.outcome.try_send(outcome).is_err() {
            debug!("the outcome of a cancelled decoding is discarded");
        }
    }
}

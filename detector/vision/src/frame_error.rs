use std::time::Duration;

use moliceiro_messages::{Letterbox, Size};
use thiserror::Error;

use crate::decoders::UnexpectedOutput;

/// Why a frame was not analysed.
#[derive(Debug, Error)]
pub enum FrameError {
    /// The payload is not the picture that the frame declares, and never will be.
    #[error("the frame's pixels cannot be decoded: {0}")]
    Undecodable(#[from] PictureError),
    /// The model does not take pictures of this size.
    #[error("the model takes pictures of {takes}, and the frame has {}", pixels(*.size))]
    WrongSize {
        /// The frame's.
        size: Size,
        /// The sizes that the model takes.
        takes: String,
    },
    /// ONNX Runtime failed, for lack of memory perhaps: another attempt may succeed.
    #[error("inference failed: {0}")]
    Inference(#[from] InferenceError),
}

impl FrameError {
    /// True if no further attempt with this frame can succeed.
    pub fn is_permanent(&self) -> bool {
        match self {
            Self::Undecodable(_) | Self::WrongSize { .. } => true,
            Self::Inference(_) => false,
        }
    }
}

/// A picture that contradicts its own description.
#[derive(Debug, Error)]
pub enum PictureError {
    /// The letterbox holds no pixel of the source.
    #[error("the letterbox is empty: {0:?}")]
    EmptyLetterbox(Letterbox),
    /// The letterbox does not lie within the picture.
    #[error("{letterbox:?} is not within {}", pixels(*.size))]
    LetterboxOutside {
        /// Where the source lies.
        letterbox: Letterbox,
        /// The picture's.
        size: Size,
    },
    /// I420 of another length than its size has.
    #[error("{bytes} bytes are not I420 of {} pixels", pixels(*.size))]
    I420Length {
        /// How many there are.
        bytes: usize,
        /// The size of the area that is sent.
        size: Size,
    },
    /// A JPEG that is damaged, or of another size or kind.
    #[error("invalid JPEG: {0}")]
    Jpeg(#[from] JpegError),
}

/// Why a JPEG cannot be decoded.
#[derive(Debug, Error)]
pub enum JpegError {
    /// The end marker is missing.
    #[error("it is truncated")]
    Truncated,
    /// Its header has another size than the frame declares.
    #[error("it has {} pixels, and the frame declares {}", pixels(*.actual), pixels(*.declared))]
    Size {
        /// The JPEG's.
        actual: Size,
        /// The frame's.
        declared: Size,
    },
    /// It is neither Y'CbCr nor grey.
    #[error("its colours are {0}, not YCbCr")]
    Colors(String),
    /// The decoder rejects it; this is the decoder's message.
    #[error("{0}")]
    Decoder(String),
}

/// Why the model has no usable output.
#[derive(Debug, Error)]
pub enum InferenceError {
    /// ONNX Runtime's own message.
    #[error("{0}")]
    Runtime(String),
    /// A trial, which ends after a while.
    #[error("it does not finish within {} s", .0.as_secs())]
    TooLong(Duration),
    /// An output is not among the model's.
    #[error("the model has no output {0:?}")]
    MissingOutput(String),
    /// An output is not a tensor of numbers.
    #[error("an output is {0}, which cannot be read")]
    OutputType(String),
    /// An input besides the picture is larger than any that is known.
    #[error("the input {0:?} is too large")]
    ExtraInput(String),
    /// The output is not one of the model's family.
    #[error("{0}")]
    Unexpected(#[from] UnexpectedOutput),
}

fn pixels(Size { width, height }: Size) -> String {
    format!("{width}×{height}")
}

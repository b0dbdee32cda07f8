use moliceiro_nats::StreamsError;
use moliceiro_service::OpenError;
use moliceiro_vision::{ModelError, RuntimeError};
use thiserror::Error;

use crate::analysis::Hung;

/// Why a detector ends before it is asked to.
#[derive(Debug, Error)]
pub enum DetectorError {
    /// ONNX Runtime cannot be loaded.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// The model cannot be used.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The server or its streams cannot be used.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The queue of a model's frames cannot be used.
    #[error(transparent)]
    Streams(#[from] StreamsError),
    /// The system cannot start a thread.
    #[error("cannot start a thread for inference: {0}")]
    Thread(std::io::Error),
    /// An inference thread panicked: a defect of this program. Its frame goes to another detector.
    #[error("an inference thread panicked; the frames in flight go to other detectors")]
    ThreadDied,
    /// An inference does not end. It cannot be interrupted, so the process has to end.
    #[error(
        "{0}: this detector ends, and its frames go to others. Start it again; after \
         streams.frame_max_deliver such attempts, the frame fails"
    )]
    Hung(Hung),
    /// Loading the model panicked: a defect of this program or of ONNX Runtime.
    #[error("loading the model panicked")]
    LoadingPanicked,
}

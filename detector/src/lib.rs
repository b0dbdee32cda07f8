//! Finds the objects in frames with an ONNX model.
//!
//! The way of a frame: `frames` pulls it and keeps the server informed, `inference` hands it to one
//! of the threads that each have a session, `session` turns pixels into a tensor, the tensor into
//! candidates and those into detections; back in `frames` the result is stored, and only then is
//! the frame acknowledged.

mod arguments;
mod frames;
mod hand;
mod inference;
pub mod metrics;
mod report;
mod settings;

use moliceiro_service::{OpenError, Telemetry, bundled, open_streams};
use thiserror::Error;
use tokio_util::sync::CancellationToken;

pub use arguments::DetectorArguments;
use moliceiro_vision::{Detector, Model, ModelError, Options, Runtime, RuntimeError};
pub use settings::{DetectorService, DetectorSettings};

/// Frames in hand for each session: one being looked at, one ready, and those on their way in and
/// out.
const FRAMES_PER_SESSION: usize = 4;

const RUNTIME_IN_PACKAGE: &str = "lib/libonnxruntime.so";

/// Why a detector ends before it is told to.
#[derive(Debug, Error)]
pub enum DetectorError {
    /// No usable ONNX Runtime.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// No usable model.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// No usable server or streams.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The system gives no thread.
    #[error("cannot start a thread for inference: {0}")]
    Thread(std::io::Error),
    /// An inference thread panicked: a defect of this program. Its frame goes to another detector.
    #[error("an inference thread ended by itself; the frames in hand go to other detectors")]
    ThreadDied,
    /// Loading the model panicked: a defect of this program or of ONNX Runtime.
    #[error("loading the model ended by a defect of this program")]
    LoadingDied,
}

/// The model that the settings name, checked against its manifest as far as that goes without
/// running it.
pub fn open_model(settings: &DetectorSettings) -> Result<Model, ModelError> {
    Model::resolve(settings.model.as_deref())
}

/// Looks at frames until `shutdown`; then finishes those in hand.
pub async fn run(
    service: DetectorService,
    telemetry: Telemetry,
    shutdown: CancellationToken,
) -> Result<(), DetectorError> {
    let sessions = service.detector.session_count();
    let in_hand = sessions * FRAMES_PER_SESSION;
    let readiness = &telemetry.readiness;
    readiness.not_yet("detector model", "it is being loaded");
    let settings = service.detector.clone();
    let inference =
        match tokio::task::spawn_blocking(move || inference::Inference::start(&settings, sessions))
            .await
        {
            Ok(started) => started?,
            Err(_) => return Err(DetectorError::LoadingDied),
        };
    readiness.met("detector model");
    let opening =
        open_streams("detector", &service.nats, &service.streams, in_hand * 2, &telemetry);
    let Some(streams) = shutdown.run_until_cancelled(opening).await.transpose()? else {
        return Ok(());
    };
    report::ready(sessions, inference.model().name(), inference.runtime());
    frames::run(streams, &service, inference, in_hand as u32, &shutdown).await
}

/// Loads the ONNX Runtime that the settings name, or else the one that came with the program.
pub fn load_runtime(settings: &DetectorSettings) -> Result<Runtime, RuntimeError> {
    Runtime::load(settings.onnxruntime.as_deref(), bundled(RUNTIME_IN_PACKAGE))
}

/// Loads ONNX Runtime and the model as [`run`] would, and runs it once, so that what is wrong is
/// known early.
pub fn check(settings: &DetectorSettings) -> Result<(), DetectorError> {
    let model = open_model(settings)?;
    let runtime = load_runtime(settings)?;
    Detector::new(
        &runtime,
        &model,
        Options {
            intra_threads: settings.threads,
            threshold: settings.threshold,
            iou: settings.iou,
        },
    )?;
    Ok(())
}

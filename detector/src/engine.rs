//! The engine, as the settings `[detector]` describe it.

use moliceiro_service::bundled;
use moliceiro_vision::{Detector, LibraryPaths, Model, ModelError, Options, Runtime, RuntimeError};

use crate::error::DetectorError;
use crate::settings::DetectorSettings;

/// Relative to the folder that the program is installed in.
const BUNDLED_RUNTIME: &str = "lib/libonnxruntime.so";

/// The configured model. Its manifest is checked, the model is not loaded.
pub fn open_model(settings: &DetectorSettings) -> Result<Model, ModelError> {
    Model::resolve(settings.model.as_deref())
}

/// Loads the configured ONNX Runtime, or else the one that is installed with the program.
pub fn load_runtime(settings: &DetectorSettings) -> Result<Runtime, RuntimeError> {
    Runtime::load(&LibraryPaths {
        configured: settings.onnxruntime.clone(),
        bundled: bundled(BUNDLED_RUNTIME),
    })
}

pub(crate) fn options(settings: &DetectorSettings) -> Options {
    Options { intra_threads: settings.threads, threshold: settings.threshold, iou: settings.iou }
}

/// Loads ONNX Runtime and the model as [`run`](crate::run) would, and runs the model once, to
/// report problems early.
pub fn check(settings: &DetectorSettings) -> Result<(), DetectorError> {
    let model = open_model(settings)?;
    let runtime = load_runtime(settings)?;
    Detector::new(&runtime, &model, options(settings))?;
    Ok(())
}

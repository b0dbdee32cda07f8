//! The engine, as the settings `[detector]` describe it, and what it finds out about a file.

use std::path::Path;

use moliceiro_nats::messages::ModelId;
use moliceiro_nats::models::NewModel;
use moliceiro_service::bundled;
use moliceiro_vision::{Detector, LibraryPaths, Model, Options, Runtime, RuntimeError};

use crate::error::DetectorError;
use crate::settings::DetectorSettings;
use crate::trial::{Origin, Trial, TrialCommand, TrialError};

/// Relative to the folder that the program is installed in.
const BUNDLED_RUNTIME: &str = "lib/libonnxruntime.so";

/// Loads the configured ONNX Runtime, or else the one that is installed with the program.
pub fn load_runtime(settings: &DetectorSettings) -> Result<Runtime, RuntimeError> {
    Runtime::load(&LibraryPaths {
        configured: settings.onnxruntime.clone(),
        bundled: bundled(BUNDLED_RUNTIME),
    })
}

/// The built-in model of this name.
pub fn builtin(model: &ModelId) -> Option<Model> {
    [Model::builtin(), Model::builtin_int8()]
        .into_iter()
        .find(|builtin| model.version().is_none() && builtin.name() == model.name())
}

pub(crate) fn options(settings: &DetectorSettings) -> Options {
    Options {
        intra_threads: settings.threads,
        threshold: settings.threshold,
        floor: Some(settings.floor()),
        iou: settings.iou,
    }
}

/// Loads ONNX Runtime and the built-in model, and runs it once, to report problems early.
pub fn check(settings: &DetectorSettings) -> Result<(), DetectorError> {
    let runtime = load_runtime(settings)?;
    let model = settings.preloaded().as_ref().and_then(builtin).unwrap_or_else(Model::builtin);
    Detector::new(&runtime, &model, options(settings))?;
    Ok(())
}

/// Loads a model's file, runs it once in a process of its own, and returns what the store has to
/// know about it.
pub fn inspect(
    settings: &DetectorSettings,
    trial: &TrialCommand,
    file: &Path,
    name: ModelId,
) -> Result<NewModel, TrialError> {
    let (settings, file) = (settings.clone(), file.to_owned());
    trial.run(&Trial { settings, parent: std::process::id(), file, name, origin: Origin::Local })
}

/// What the store has to know about a model that was run once.
pub(crate) fn described(model: &Model, name: ModelId) -> NewModel {
    let description = model.description();
    NewModel {
        name,
        size: description.size,
        multiple_of: description.multiple_of,
        fit: description.fit,
        scaling: description.scaling,
        classes: u32::try_from(description.labels.len()).unwrap_or(u32::MAX),
        // In full: the store has no file beside the model, and nothing is found out again.
        manifest: Some(model.manifest()),
    }
}

/// The name of a model that people give as a file: its own name, made valid. Names of built-in
/// models get an ending, because they stand for those.
pub fn name_of_file(file: &Path) -> ModelId {
    let stem = file.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    let name = ModelId::for_name(&stem.unwrap_or_default());
    match builtin(&name) {
        Some(_) => ModelId::for_name(&format!("{}-file", name.name())),
        None => name,
    }
}

impl DetectorSettings {
    /// The built-in model that is loaded before the first frame, if any is served.
    pub(crate) fn preloaded(&self) -> Option<ModelId> {
        let named = self.models.iter().filter_map(|model| model.parse::<ModelId>().ok());
        let named = named.into_iter().find(|model| builtin(model).is_some());
        let all = self.models.iter().any(|model| model == "*");
        named.or_else(|| all.then(ModelId::default))
    }
}

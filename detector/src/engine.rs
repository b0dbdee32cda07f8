//! The engine, as the settings `[detector]` describe it, and what it finds out about a file.

use std::path::Path;

use moliceiro_nats::messages::{ModelId, Size};
use moliceiro_nats::models::NewModel;
use moliceiro_service::bundled;
use moliceiro_vision::{Detector, LibraryPaths, Model, ModelError, Options, Runtime, RuntimeError};

use crate::error::DetectorError;
use crate::settings::DetectorSettings;

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
    Options { intra_threads: settings.threads, threshold: settings.threshold, iou: settings.iou }
}

/// Loads ONNX Runtime and the built-in model, and runs it once, to report problems early.
pub fn check(settings: &DetectorSettings) -> Result<(), DetectorError> {
    let runtime = load_runtime(settings)?;
    let model = settings.preloaded().as_ref().and_then(builtin).unwrap_or_else(Model::builtin);
    Detector::new(&runtime, &model, options(settings))?;
    Ok(())
}

/// Loads a model's file, runs it once, and returns what the store has to know about it.
pub fn inspect(
    settings: &DetectorSettings,
    file: &Path,
    name: ModelId,
) -> Result<NewModel, DetectorError> {
    let runtime = load_runtime(settings)?;
    let model = Model::open(file)?;
    Detector::new(&runtime, &model, options(settings))?;
    const STEPS: [u32; 6] = [8, 16, 32, 64, 128, 256];
    Ok(NewModel {
        name,
        size: model.size(),
        // The odd multiples are sizes that a model with one size only does not take.
        multiple_of: STEPS.into_iter().find(|step| {
            let size = |n: u32| Size { width: n * step, height: (n + 2) * step };
            model.takes(size(1)) && model.takes(size(3))
        }),
        fit: model.fit(),
        classes: u32::try_from(model.labels().len()).unwrap_or(u32::MAX),
        manifest: manifest(file, &model)?,
    })
}

/// The manifest beside a model's file, with its labels in it: the store has no third file.
fn manifest(file: &Path, model: &Model) -> Result<Option<String>, ModelError> {
    let path = file.with_extension("toml");
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(ModelError::Unreadable { path, source }),
    };
    // It was parsed before.
    let Ok(mut table) = text.parse::<toml::Table>() else { return Ok(Some(text)) };
    let labels = model.labels().iter().cloned().map(toml::Value::String).collect();
    table.insert("labels".to_owned(), toml::Value::Array(labels));
    Ok(Some(table.to_string()))
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

//! The model that a run names: one of the server's, or a file, which becomes one.

use std::path::PathBuf;

use anyhow::Context;
use moliceiro_detector::{DetectorSettings, inspect, name_of_file};
use moliceiro_ingest::IngestSettings;
use moliceiro_nats::messages::{ModelDescription, ModelId};
use moliceiro_nats::models::NewModel;
use moliceiro_nats::{Models, ModelsError, Streams};
use moliceiro_service::SettingsError;

/// What `--model` names.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum ModelChoice {
    /// A model that is built in or in the store.
    Named(ModelId),
    /// A file, which was loaded and run once.
    File(PathBuf, NewModel),
}

impl ModelChoice {
    /// Fails if it is a file that cannot be used.
    pub(crate) fn parse(text: &str, detector: &DetectorSettings) -> anyhow::Result<Self> {
        if let Ok(id) = text.parse() {
            return Ok(Self::Named(id));
        }
        let file = PathBuf::from(text);
        let new = inspect(detector, &file, name_of_file(&file))?;
        Ok(Self::File(file, new))
    }

    /// The model, in the version that this run uses. A file is added to the server's models, unless
    /// it is there already.
    pub(crate) async fn resolve(&self, streams: &Streams) -> anyhow::Result<ModelDescription> {
        let models: &Models = &streams.models;
        match self {
            Self::Named(id) => models.find(id).await.map_err(unknown),
            Self::File(file, new) => {
                let adding = async { models.add(new, models.upload(file).await?).await };
                adding.await.with_context(|| format!("cannot add the model {}", file.display()))
            }
        }
    }
}

/// A name that does not exist is wrong usage.
fn unknown(error: ModelsError) -> anyhow::Error {
    match error {
        ModelsError::Unknown { .. } => {
            SettingsError::Invalid(vec![format!("--model: {error}")]).into()
        }
        other => other.into(),
    }
}

/// Fails if the settings ask for pictures that the model does not take.
pub(crate) fn check_size(
    ingest: &IngestSettings,
    model: &ModelDescription,
) -> Result<(), SettingsError> {
    let taken = model.size;
    let problem = match ingest.picture_size(model) {
        Err(size) => format!(
            "ingest.width × ingest.height = {}×{} does not fit the model: leave them out, or set \
             {}×{}",
            size.width, size.height, taken.width, taken.height
        ),
        Ok(_) => match ingest.picture_fit(model) {
            Ok(_) => return Ok(()),
            Err(fit) => format!(
                "ingest.fit = {} does not work with the model {}, which accepts pictures of {}×{} \
                 only: leave it out, or set letterbox or stretch (--fit)",
                <&str>::from(fit),
                model.model,
                taken.width,
                taken.height
            ),
        },
    };
    Err(SettingsError::Invalid(vec![problem]))
}

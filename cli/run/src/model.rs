//! The model that a run names: one of the server's, or a file, which becomes one.

use std::path::PathBuf;

use anyhow::Context;
use moliceiro_detector::{DetectorSettings, TrialCommand, inspect, name_of_file};
use moliceiro_ingest::IngestSettings;
use moliceiro_nats::messages::{ModelDescription, ModelId};
use moliceiro_nats::models::NewModel;
use moliceiro_nats::{Models, ModelsError, Streams};
use moliceiro_service::SettingsError;
use tracing::{info, warn};

use crate::server::ServerKind;

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
        let new = inspect(detector, &TrialCommand::this_program(), &file, name_of_file(&file))?;
        Ok(Self::File(file, new))
    }

    /// The model, in the version that this run uses. A file is added to the server's models, unless
    /// it is there already.
    async fn resolve(
        &self,
        streams: &Streams,
        server: ServerKind,
    ) -> anyhow::Result<ModelDescription> {
        let models: &Models = &streams.models;
        match self {
            Self::Named(id) => models.find(id).await.map_err(unknown),
            Self::File(file, new) => {
                let adding = async {
                    let bytes = models.upload(file).await?;
                    match server {
                        ServerKind::Private => models.add_for_run(new, bytes).await,
                        ServerKind::Shared => models.add(new, bytes).await,
                    }
                };
                adding.await.with_context(|| format!("cannot add the model {}", file.display()))
            }
        }
    }
}

/// The models of a run, each once. On a private server, those of earlier runs that no stored video
/// is analysed by are removed.
pub(crate) async fn resolve_all(
    models: &[ModelChoice],
    streams: &Streams,
    server: ServerKind,
) -> anyhow::Result<Vec<ModelDescription>> {
    let mut resolved: Vec<ModelDescription> = Vec::new();
    for model in models {
        let found = model.resolve(streams, server).await?;
        if resolved.iter().all(|other| other.model != found.model) {
            resolved.push(found);
        }
    }
    let adds = models.iter().any(|model| matches!(model, ModelChoice::File(..)));
    if adds && server == ServerKind::Private {
        let current: Vec<_> = resolved.iter().map(|model| model.model.clone()).collect();
        match streams.models.remove_unused_of_runs(streams, &current).await {
            Ok(removed) if removed.is_empty() => {}
            Ok(removed) => info!(?removed, "removed the models of earlier runs"),
            Err(error) => warn!(%error, "cannot remove the models of earlier runs"),
        }
    }
    Ok(resolved)
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

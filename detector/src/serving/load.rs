use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::Duration;

use async_nats::jetstream::consumer::{Consumer, pull};
use moliceiro_nats::messages::ModelId;
use moliceiro_nats::models::NewModel;
use moliceiro_nats::{ModelsError, Streams, StreamsError};
use moliceiro_service::release_memory;
use moliceiro_vision::{Model, ModelError, Options, Runtime};
use tempfile::TempDir;
use thiserror::Error;

use crate::engine::{builtin, load_runtime, options};
use crate::error::DetectorError;
use crate::inference::Sessions;
use crate::serving::trials::Tried;
use crate::settings::DetectorSettings;
use crate::trial::{Origin, Trial, TrialCommand, TrialError};

/// How often it is checked whether a model that makes space has no frame in flight any more.
const LEAVING_POLL: Duration = Duration::from_millis(20);

/// Loads models into ONNX Runtime.
pub(crate) struct Loader {
    runtime: Runtime,
    options: Options,
    sessions: usize,
    settings: DetectorSettings,
    trial: TrialCommand,
}

/// A model that is ready for frames.
pub(crate) struct Loaded {
    pub consumer: Consumer<pull::Config>,
    pub sessions: Arc<Sessions>,
}

/// Why a model is not loaded.
#[derive(Debug, Error)]
pub(crate) enum LoadError {
    /// No later attempt will succeed, unless the model is replaced: its frames fail.
    #[error("{reason}")]
    Unusable { consumer: Box<Consumer<pull::Config>>, reason: String },
    #[error(
        "it needs about {needed} bytes of memory, and detector.memory is {limit}: raise that, or \
         lower detector.sessions"
    )]
    Memory { needed: u64, limit: u64 },
    #[error(transparent)]
    Models(#[from] ModelsError),
    #[error(transparent)]
    Streams(#[from] StreamsError),
    #[error("cannot create a folder for the model: {0}")]
    Folder(std::io::Error),
    #[error(transparent)]
    Trial(TrialError),
    #[error("loading the model panicked")]
    Panicked,
}

impl Loader {
    /// Loads ONNX Runtime. Blocks until that is done.
    pub(crate) fn start(
        settings: &DetectorSettings,
        trial: TrialCommand,
    ) -> Result<Self, DetectorError> {
        let (runtime, options) = (load_runtime(settings)?, options(settings));
        let (sessions, mut settings) = (settings.session_count(), settings.clone());
        // So that each trial has this one.
        settings.onnxruntime = Some(runtime.library().to_owned());
        Ok(Self { runtime, options, sessions, settings, trial })
    }

    pub(crate) fn settings(&self) -> &DetectorSettings {
        &self.settings
    }

    /// Frames that are analysed at the same time.
    pub(crate) fn sessions(&self) -> usize {
        self.sessions
    }

    /// The description of the ONNX Runtime.
    pub(crate) fn runtime(&self) -> &str {
        self.runtime.description()
    }

    /// Where ONNX Runtime is.
    pub(crate) fn library(&self) -> std::path::Display<'_> {
        self.runtime.library().display()
    }

    /// Loads a session for each thread. Blocks until each has run once.
    pub(crate) fn sessions_of(&self, model: &Model) -> Result<Sessions, ModelError> {
        let loaded = Sessions::load(&self.runtime, model, self.options, self.sessions);
        // Without it, models that take turns would take more and more.
        release_memory();
        loaded
    }

    /// Loads a model that somebody sent, and runs it once, in a process of its own. Blocks until that
    /// is done.
    pub(crate) fn try_sent(
        &self,
        file: PathBuf,
        name: ModelId,
        manifest: Option<String>,
    ) -> Result<NewModel, TrialError> {
        let (settings, origin) = (self.settings.clone(), Origin::Sent { manifest });
        self.trial.run(&Trial { settings, parent: std::process::id(), file, name, origin })
    }

    /// As [`try_sent`](Self::try_sent), of a model of the store. Returns why it cannot be used.
    pub(super) async fn try_stored(self: Arc<Self>, streams: &Streams, model: ModelId) -> Tried {
        let fetched = match fetch(streams, &model).await {
            Ok(fetched) => fetched,
            Err(LoadError::Models(error)) if !error.is_transient() => {
                return Ok(Err(error.to_string()));
            }
            Err(error) => return Err(error),
        };
        let id = model.clone();
        let trying = tokio::task::spawn_blocking(move || {
            let Fetched { path, manifest, folder } = fetched;
            let tried = self.try_sent(path, id, manifest);
            drop(folder);
            tried
        });
        match trying.await.map_err(|_| LoadError::Panicked)? {
            Ok(_) => Ok(Ok(())),
            Err(error @ TrialError::Start(_)) => Err(LoadError::Trial(error)),
            Err(error) => Ok(Err(unusable(&model, &error))),
        }
    }

    /// Fetches a model, once those that make space for it have no frame in flight, and loads it.
    pub(crate) async fn load(
        self: Arc<Self>,
        streams: &Streams,
        model: ModelId,
        leaving: Vec<Weak<Sessions>>,
    ) -> Result<Loaded, LoadError> {
        while leaving.iter().any(|sessions| sessions.strong_count() > 0) {
            tokio::time::sleep(LEAVING_POLL).await;
        }
        // Else the memory of those that left and of this one would be taken at once.
        tokio::task::spawn_blocking(release_memory).await.map_err(|_| LoadError::Panicked)?;
        let consumer = streams.detectors(&model).await?;
        // The file must stay until the model is loaded: ONNX Runtime reads it.
        let (opened, _folder) = match builtin(&model) {
            Some(builtin) => (Ok(builtin), None),
            None => match fetch(streams, &model).await {
                Ok(Fetched { path, manifest, folder }) => {
                    let name = model.to_string();
                    (Model::open_alone(&name, path, manifest.as_deref()), Some(folder))
                }
                Err(LoadError::Models(error)) if !error.is_transient() => {
                    let (consumer, reason) = (Box::new(consumer), error.to_string());
                    return Err(LoadError::Unusable { consumer, reason });
                }
                Err(error) => return Err(error),
            },
        };
        let loaded = tokio::task::spawn_blocking(move || {
            opened.and_then(|opened| self.sessions_of(&opened))
        });
        match loaded.await {
            Ok(Ok(sessions)) => Ok(Loaded { consumer, sessions: Arc::new(sessions) }),
            Ok(Err(error)) => {
                let reason = unusable(&model, &error);
                Err(LoadError::Unusable { consumer: Box::new(consumer), reason })
            }
            Err(_) => Err(LoadError::Panicked),
        }
    }
}

fn unusable(model: &ModelId, error: &dyn std::fmt::Display) -> String {
    format!("the model {model} cannot be used: {error}")
}

/// A model of the store, as a file that goes with the folder.
struct Fetched {
    path: PathBuf,
    manifest: Option<String>,
    folder: TempDir,
}

async fn fetch(streams: &Streams, model: &ModelId) -> Result<Fetched, LoadError> {
    let folder = tempfile::Builder::new().prefix("moliceiro-model-").tempdir();
    let folder = folder.map_err(LoadError::Folder)?;
    let stored = streams.models.find_stored(model).await?;
    let path = streams.models.fetch(&stored, folder.path()).await?;
    Ok(Fetched { path, manifest: stored.manifest, folder })
}

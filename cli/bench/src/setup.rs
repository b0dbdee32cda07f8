//! What every measurement needs: the input, and how to call the programs.

use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::Context;
use moliceiro_detector::{DetectorSettings, TrialCommand, inspect, name_of_file};
use moliceiro_nats::messages::{BUILTIN_MODELS, ModelDescription, ModelId, Size};
use moliceiro_nats::models::NewModel;
use moliceiro_nats::{Streams, StreamsSettings};
use moliceiro_service::{CommonArguments, SettingsError};
use url::Url;

/// What every measurement needs.
#[derive(Clone)]
pub(crate) struct Setup {
    /// Where stores and logs get their folders.
    pub(crate) data: PathBuf,
    pub(crate) nats_server: PathBuf,
    pub(crate) videos: Vec<Url>,
    /// The number of frames in all videos together.
    pub(crate) frames: u64,
    pub(crate) model: MeasuredModel,
    pub(crate) streams: StreamsSettings,
    /// The settings of the command line, as arguments for the programs.
    pub(crate) settings: Vec<OsString>,
}

/// The model that is measured.
#[derive(Clone)]
pub(crate) struct MeasuredModel {
    /// Its name in each pipeline's store.
    pub(crate) id: ModelId,
    /// The size of the pictures that it accepts.
    pub(crate) size: Size,
    /// The file that is added to each store; `None`: it is built in.
    pub(crate) file: Option<(PathBuf, NewModel)>,
}

impl MeasuredModel {
    /// The model that `--model` names: a built-in one, or else a file, which is loaded and run
    /// once.
    pub(crate) fn of(text: Option<&str>, detector: &DetectorSettings) -> anyhow::Result<Self> {
        let id = text.map_or_else(|| Ok(ModelId::default()), str::parse);
        if let Some(known) = id.as_ref().ok().and_then(ModelDescription::builtin_named) {
            return Ok(Self { id: known.model, size: known.size, file: None });
        }
        let file = PathBuf::from(text.unwrap_or_default());
        if id.is_ok() && !file.is_file() {
            let names = BUILTIN_MODELS.join(" or ");
            return Err(SettingsError::Invalid(vec![format!(
                "--model {} is not built in: use {names}, or a model file",
                file.display()
            )])
            .into());
        }
        let new = inspect(detector, &TrialCommand::this_program(), &file, name_of_file(&file))?;
        // Each pipeline has an empty store, in which it is the first version of its name.
        Ok(Self { id: new.name.at(1), size: new.size, file: Some((file, new)) })
    }

    /// Adds it to the store of a pipeline, if it is a file.
    pub(crate) async fn add_to(&self, streams: &Streams) -> anyhow::Result<()> {
        if let Some((file, new)) = &self.file {
            let adding =
                async { streams.models.add(new, streams.models.upload(file).await?).await };
            adding.await.with_context(|| format!("cannot add the model {}", file.display()))?;
        }
        Ok(())
    }
}

impl Setup {
    /// A new folder for one measurement.
    pub(crate) fn folder(&self) -> std::io::Result<tempfile::TempDir> {
        tempfile::Builder::new().prefix("moliceiro-bench-").tempdir_in(&self.data)
    }

    /// The setting with which an ingest may read the videos and nothing else.
    pub(crate) fn allow_videos(&self) -> String {
        format!(
            "ingest.allow={}",
            self.videos.iter().map(Url::as_str).collect::<Vec<_>>().join(",")
        )
    }

    /// Arguments of this program: a command, the settings of the user, and those of the
    /// measurement.
    pub(crate) fn call(&self, command: &[&str], own: &[String]) -> Vec<OsString> {
        let command = command.iter().map(OsString::from);
        command.chain(self.settings.iter().cloned()).chain(own.iter().map(OsString::from)).collect()
    }
}

/// The settings of the command line, as arguments for other programs.
pub(crate) fn as_arguments(common: &CommonArguments, model: &ModelId) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = Vec::new();
    if let Some(file) = &common.config {
        arguments.extend(["--config".into(), file.into()]);
    }
    if let Some(level) = &common.log_level {
        arguments.extend(["--log".into(), level.into()]);
    }
    let model = [
        ("ingest.model".to_owned(), model.to_string()),
        ("detector.models".to_owned(), format!("{model},*")),
    ];
    for (key, value) in common.assignments.iter().cloned().chain(model) {
        arguments.extend(["--set".into(), format!("{key}={value}").into()]);
    }
    arguments
}

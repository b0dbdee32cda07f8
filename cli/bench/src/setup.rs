//! What every measurement needs: the input, and how to call the programs.

use std::ffi::OsString;
use std::path::PathBuf;

use moliceiro_nats::StreamsSettings;
use moliceiro_nats::messages::{ModelId, Size};
use moliceiro_service::CommonArguments;
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
    /// The size of the pictures that the model accepts.
    pub(crate) size: Size,
    pub(crate) model: ModelId,
    pub(crate) streams: StreamsSettings,
    /// The settings of the command line, as arguments for the programs.
    pub(crate) settings: Vec<OsString>,
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

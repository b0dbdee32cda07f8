//! What all measurements have in common.

use std::ffi::OsString;
use std::path::PathBuf;

use moliceiro_nats::StreamsSettings;
use moliceiro_nats::messages::Size;
use moliceiro_service::CommonArguments;
use url::Url;

/// The input, and how the programs are called.
#[derive(Clone)]
pub(crate) struct Setup {
    /// Folders of stores and logs are made in here.
    pub(crate) data: PathBuf,
    pub(crate) nats_server: PathBuf,
    pub(crate) videos: Vec<Url>,
    /// Frames in all videos together.
    pub(crate) frames: u64,
    /// What the model takes.
    pub(crate) size: Size,
    pub(crate) streams: StreamsSettings,
    /// Settings that the user gave, as arguments.
    pub(crate) settings: Vec<OsString>,
}

impl Setup {
    /// A folder for one measurement.
    pub(crate) fn folder(&self) -> std::io::Result<tempfile::TempDir> {
        tempfile::Builder::new().prefix("moliceiro-bench-").tempdir_in(&self.data)
    }

    /// What lets an ingest read the videos, and nothing else.
    pub(crate) fn allow_videos(&self) -> String {
        format!(
            "ingest.allow={}",
            self.videos.iter().map(Url::as_str).collect::<Vec<_>>().join(",")
        )
    }

    /// Arguments of this program: a command, what the user set, and what the measurement sets.
    pub(crate) fn call(&self, command: &[&str], own: &[String]) -> Vec<OsString> {
        let command = command.iter().map(OsString::from);
        command.chain(self.settings.iter().cloned()).chain(own.iter().map(OsString::from)).collect()
    }
}

/// The settings that the user gave, as arguments of another program.
pub(crate) fn as_arguments(common: &CommonArguments, model: Option<&str>) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = Vec::new();
    if let Some(file) = &common.config {
        arguments.extend(["--config".into(), file.into()]);
    }
    if let Some(level) = &common.log_level {
        arguments.extend(["--log".into(), level.into()]);
    }
    let model = model.map(|model| ("detector.model".to_owned(), model.to_owned()));
    for (key, value) in common.assignments.iter().cloned().chain(model) {
        arguments.extend(["--set".into(), format!("{key}={value}").into()]);
    }
    arguments
}

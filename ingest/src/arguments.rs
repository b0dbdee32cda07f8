use clap::Parser;
use moliceiro_service::{CommonArguments, SettingsError};

use crate::IngestService;

/// Decodes uploaded videos and publishes their frames
#[derive(Clone, Debug, Parser)]
#[command(
    version,
    after_help = "Takes uploads from videos.upload, such as: nats pub videos.upload file:///data/a.mp4\nThe file must be readable on this machine."
)]
pub struct IngestArguments {
    /// Arguments of every service
    #[command(flatten)]
    pub common: CommonArguments,
    /// How frames travel: jpeg (small) or i420 (larger, no work) [setting: ingest.encoding]
    #[arg(long, value_name = "ENCODING")]
    pub encoding: Option<String>,
    /// Look at each N-th frame only [setting: ingest.every]
    #[arg(long, value_name = "N")]
    pub every: Option<String>,
}

impl IngestArguments {
    /// The settings that the file, the environment and these arguments give.
    pub fn service(&self) -> Result<IngestService, SettingsError> {
        let loader = self.common.loader().flag("--encoding", "ingest.encoding", self.encoding.as_ref()).flag(
            "--every",
            "ingest.every",
            self.every.as_ref(),
        );
        IngestService::from_settings(&loader.load()?)
    }
}

use clap::Parser;
use moliceiro_service::{CommonArguments, SettingsError};

use crate::IngestService;

/// Decodes uploaded videos and publishes their frames
#[derive(Clone, Debug, Parser)]
#[command(
    version,
    after_help = "Takes uploads by HTTP, such as: curl -F video=@a.mp4 http://localhost:5000\nand from videos.upload, such as: nats pub videos.upload file:///data/a.mp4\nThat file must be readable on this machine, and in a folder that --allow names."
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
    /// Serve HTTP at this address; '' turns HTTP off [setting: http.listen]
    #[arg(long, value_name = "HOST:PORT")]
    pub listen: Option<String>,
    /// Folder, file or beginning of a URI that videos may be read from; may be repeated [setting:
    /// ingest.allow]
    #[arg(long, value_name = "PLACE")]
    pub allow: Vec<String>,
}

impl IngestArguments {
    /// The settings that the file, the environment and these arguments give.
    pub fn service(&self) -> Result<IngestService, SettingsError> {
        let allow = (!self.allow.is_empty()).then(|| self.allow.join(","));
        let loader = self
            .common
            .loader()
            .flag("--encoding", "ingest.encoding", self.encoding.as_ref())
            .flag("--every", "ingest.every", self.every.as_ref())
            .flag("--listen", "http.listen", self.listen.as_ref())
            .flag("--allow", "ingest.allow", allow);
        IngestService::from_settings(&loader.load()?)
    }
}

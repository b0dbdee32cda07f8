use clap::Parser;
use moliceiro_service::{CommonArguments, SettingsError};

use crate::IngestService;

/// Decodes uploaded videos and publishes their frames
#[derive(Clone, Debug, Parser)]
#[command(
    version,
    after_help = "Examples:\n  \
                  curl -F video=@a.mp4 http://localhost:5000          upload by HTTP\n  \
                  nats pub videos.upload file:///data/a.mp4           upload by NATS\n\n\
                  A file named over NATS must be readable on this machine, in a folder that \
                  --allow names."
)]
pub struct IngestArguments {
    /// Arguments of every service
    #[command(flatten)]
    pub common: CommonArguments,
    /// Encoding of frames on the queue: jpeg (small) or i420 (large, but costs no CPU) [setting:
    /// ingest.encoding]
    #[arg(long, value_name = "ENCODING")]
    pub encoding: Option<String>,
    /// Analyse every Nth frame only [setting: ingest.every]
    #[arg(long, value_name = "N")]
    pub every: Option<String>,
    /// Model for uploads that do not name one, such as nanodet, boats or boats@3 [setting:
    /// ingest.model]
    #[arg(long, value_name = "MODEL")]
    pub model: Option<String>,
    /// Serve HTTP at this address; '' turns HTTP off [setting: http.listen]
    #[arg(long, value_name = "HOST:PORT")]
    pub listen: Option<String>,
    /// Folder, file or URI prefix that videos may be read from; repeatable [setting:
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
            .flag("--model", "ingest.model", self.model.as_ref())
            .flag("--listen", "http.listen", self.listen.as_ref())
            .flag("--allow", "ingest.allow", allow);
        IngestService::from_settings(&loader.load()?)
    }
}

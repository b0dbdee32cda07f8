use clap::Parser;
use moliceiro_service::{CommonArguments, SettingsError};

use crate::AggregatorService;

/// Counts every frame once and prints each video's summary
#[derive(Clone, Debug, Parser)]
#[command(
    version,
    after_help = "Reads results from the stream RESULTS, publishes summaries on summaries.<video>."
)]
pub struct AggregatorArguments {
    /// Arguments of every service
    #[command(flatten)]
    pub common: CommonArguments,
    /// What to print of each video: text, json or none [setting: aggregator.output]
    #[arg(long, value_name = "FORMAT")]
    pub output: Option<String>,
}

impl AggregatorArguments {
    /// The settings that the file, the environment and these arguments give.
    pub fn service(&self) -> Result<AggregatorService, SettingsError> {
        let loader =
            self.common.loader().flag("--output", "aggregator.output", self.output.as_ref());
        AggregatorService::from_settings(&loader.load()?)
    }
}

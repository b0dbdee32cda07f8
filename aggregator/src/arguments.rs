use clap::Parser;
use moliceiro_service::{CommonArguments, SettingsError};

use crate::settings::AggregatorService;

/// Counts every frame once and prints each video's summary
#[derive(Clone, Debug, Parser)]
#[command(
    version,
    after_help = "Pulls results from the stream RESULTS. Publishes alarms on alarms.<video> and \
                  summaries on summaries.<video>."
)]
pub struct AggregatorArguments {
    /// Arguments of every service
    #[command(flatten)]
    pub common: CommonArguments,
    /// How to print alarms and summaries: text, json or none [setting: aggregator.output]
    #[arg(long, value_name = "FORMAT")]
    pub output: Option<String>,
}

impl AggregatorArguments {
    /// The settings from the file, the environment and these arguments, checked.
    pub fn service(&self) -> Result<AggregatorService, SettingsError> {
        let loader =
            self.common.loader().flag("--output", "aggregator.output", self.output.as_ref());
        AggregatorService::from_settings(&loader.load()?)
    }
}

use clap::Parser;
use moliceiro_service::{CommonArguments, SettingsError};

use crate::settings::DetectorService;

/// Pulls frames, finds the objects in them, publishes results
#[derive(Clone, Debug, Parser)]
#[command(
    version,
    after_help = "Start as many as you have machines: they share the frames of the stream FRAMES."
)]
pub struct DetectorArguments {
    /// Arguments of every service
    #[command(flatten)]
    pub common: CommonArguments,
    /// Models to take frames for: names such as boats or boats@3, separated by commas; '*' for all
    /// [setting: detector.models]
    #[arg(long, value_name = "MODELS")]
    pub models: Option<String>,
    /// Frames analysed at the same time; 0: one for each core [setting: detector.sessions]
    #[arg(long, value_name = "N")]
    pub sessions: Option<String>,
    /// Count objects whose score is above this, 0 to 1 [setting: detector.threshold]
    #[arg(long, value_name = "SCORE")]
    pub threshold: Option<String>,
    /// Store objects whose score is above this, 0 to 1 [setting: detector.floor]
    #[arg(long, value_name = "SCORE")]
    pub floor: Option<String>,
}

impl DetectorArguments {
    /// The settings from the file, the environment and these arguments.
    pub fn service(&self) -> Result<DetectorService, SettingsError> {
        let loader = self
            .common
            .loader()
            .flag("--models", "detector.models", self.models.as_ref())
            .flag("--sessions", "detector.sessions", self.sessions.as_ref())
            .flag("--threshold", "detector.threshold", self.threshold.as_ref())
            .flag("--floor", "detector.floor", self.floor.as_ref());
        DetectorService::from_settings(&loader.load()?)
    }
}

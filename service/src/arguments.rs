use std::path::PathBuf;

use clap::Args;
use thiserror::Error;

use crate::settings::Loader;

/// The arguments that all commands share.
#[derive(Args, Debug, Clone)]
pub struct CommonArguments {
    /// TOML file with settings; `moliceiro config` prints all of them
    #[arg(long, value_name = "FILE", help_heading = "Settings")]
    pub config: Option<PathBuf>,
    /// NATS server(s) to use, such as nats://host:4222 [setting: nats.url]
    #[arg(long = "nats", value_name = "URL", help_heading = "Settings")]
    pub nats_url: Option<String>,
    /// Context of the `nats` command that says which server and user: its name, or its file
    /// [setting: nats.context]
    #[arg(long = "context", value_name = "NAME", help_heading = "Settings")]
    pub nats_context: Option<String>,
    /// What to log: error, warn, info, debug, or a filter such as moliceiro_ingest=debug [setting:
    /// log.level]
    #[arg(long = "log", value_name = "LEVEL", help_heading = "Settings")]
    pub log_level: Option<String>,
    /// Any setting, such as streams.replicas=3; may be repeated
    #[arg(
        long = "set",
        value_name = "KEY=VALUE",
        value_parser = assignment,
        help_heading = "Settings"
    )]
    pub assignments: Vec<(String, String)>,
}

/// A `--set` that does not name a setting.
#[derive(Debug, Error)]
#[error("give SECTION.KEY=VALUE, such as streams.replicas=3")]
struct InvalidAssignment;

fn assignment(text: &str) -> Result<(String, String), InvalidAssignment> {
    match text.split_once('=') {
        Some((key, value)) if key.contains('.') => {
            Ok((key.trim().to_owned(), value.trim().to_owned()))
        }
        _ => Err(InvalidAssignment),
    }
}

impl CommonArguments {
    /// A loader with the settings file, the environment and these arguments. A command adds its own
    /// flags.
    pub fn loader(&self) -> Loader {
        let mut loader = Loader::new().file(self.config.clone());
        loader = loader
            .flag("--nats", "nats.url", self.nats_url.as_ref())
            .flag("--context", "nats.context", self.nats_context.as_ref())
            .flag("--log", "log.level", self.log_level.as_ref());
        self.assignments
            .iter()
            .fold(loader, |loader, (key, value)| loader.flag("--set", key, Some(value)))
    }
}

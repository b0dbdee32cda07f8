use std::path::PathBuf;

use clap::Args;

use crate::settings::Loader;

/// The arguments that all programs share.
#[derive(Args, Debug, Clone)]
pub struct CommonArguments {
    /// TOML file with settings; `moliceiro config` prints one with all of them
    #[arg(long, value_name = "FILE", help_heading = "Settings")]
    pub config: Option<PathBuf>,
    /// NATS server(s) to use, such as nats://host:4222 [setting: nats.url]
    #[arg(long = "nats", value_name = "URL", help_heading = "Settings")]
    pub nats_url: Option<String>,
    /// What to log: error, warn, info, debug, or filters such as moliceiro_ingest=debug [setting:
    /// log.level]
    #[arg(long = "log", value_name = "LEVEL", help_heading = "Settings")]
    pub log_level: Option<String>,
    /// Any setting, such as streams.replicas=3; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = assignment, help_heading = "Settings")]
    pub assignments: Vec<(String, String)>,
}

fn assignment(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if key.contains('.') => {
            Ok((key.trim().to_owned(), value.trim().to_owned()))
        }
        _ => Err("give SECTION.KEY=VALUE, such as streams.replicas=3".into()),
    }
}

impl CommonArguments {
    /// A loader of settings with the file, the environment and these arguments; a program adds its
    /// own flags to it.
    pub fn loader(&self) -> Loader {
        let mut loader = Loader::new().file(self.config.clone());
        loader = loader.flag("--nats", "nats.url", self.nats_url.as_ref()).flag(
            "--log",
            "log.level",
            self.log_level.as_ref(),
        );
        self.assignments
            .iter()
            .fold(loader, |loader, (key, value)| loader.flag("--set", key, Some(value)))
    }
}

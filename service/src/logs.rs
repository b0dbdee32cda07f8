use std::io::{self, IsTerminal};

use serde::{Deserialize, Serialize};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::{MakeWriter, time::SystemTime};

use crate::settings::{Problem, Section};

/// Settings `[log]`: what is logged to standard error.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogSettings {
    /// `error`, `warn`, `info`, `debug`, or a filter such as `info,moliceiro_ingest=debug`.
    pub level: String,
    /// `auto` (text on a terminal, JSON elsewhere), `text` or `json`.
    pub format: LogFormat,
}

/// Format of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    Auto,
    /// Text, for people.
    Text,
    /// One JSON object per line.
    Json,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self { level: "info".into(), format: LogFormat::Auto }
    }
}

impl Section for LogSettings {
    const NAME: &'static str = "log";

    fn problems(&self) -> Vec<Problem> {
        match EnvFilter::try_new(&self.level) {
            Ok(_) => vec![],
            Err(_) => vec![Problem::new(
                "level",
                "error, warn, info, debug, trace, or a filter such as info,moliceiro_ingest=debug",
            )],
        }
    }
}

/// Starts to log to standard error.
pub fn start_logging(settings: &LogSettings) {
    start_logging_to(settings, io::stderr);
}

/// Starts to log to a writer. A second call in one process does not change anything.
pub fn start_logging_to<W>(settings: &LogSettings, writer: W)
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let filter = EnvFilter::try_new(&settings.level).unwrap_or_else(|_| EnvFilter::new("info"));
    let terminal = io::stderr().is_terminal();
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_timer(SystemTime)
        .with_ansi(terminal)
        .with_writer(writer);
    let json = match settings.format {
        LogFormat::Auto => !terminal,
        LogFormat::Text => false,
        LogFormat::Json => true,
    };
    // An error means that logging has already started.
    if json {
        logs.json().flatten_event(true).try_init().ok();
    } else {
        logs.with_target(false).try_init().ok();
    }
}

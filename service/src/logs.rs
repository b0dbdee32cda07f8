use std::io::{self, IsTerminal};

use serde::{Deserialize, Serialize};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;
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
        if is_filter(&self.level) {
            return vec![];
        }
        vec![Problem::new(
            "level",
            "error, warn, info, debug, trace, or a filter such as info,moliceiro_ingest=debug",
        )]
    }
}

/// The parser of filters takes any word for the name of a module: a level that does not exist would
/// log nothing.
fn is_filter(text: &str) -> bool {
    let is_directive = |directive: &str| {
        directive.contains(['=', '[', ']'])
            || directive.starts_with("moliceiro")
            || directive.parse::<LevelFilter>().is_ok()
    };
    EnvFilter::try_new(text).is_ok()
        && text.split(',').map(str::trim).filter(|part| !part.is_empty()).all(is_directive)
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
        // A report of a closed standard error would go there, and panic.
        .log_internal_errors(false)
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

#[cfg(test)]
mod tests {
    use super::is_filter;

    #[test]
    fn a_word_that_is_not_a_level_is_refused() {
        for filter in ["error", "DEBUG", "off", "info,moliceiro_ingest=debug", "moliceiro_run", ""]
        {
            assert!(is_filter(filter), "{filter}");
        }
        for filter in ["loud", "info,loud", "moliceiro_ingest=loud", "warning"] {
            assert!(!is_filter(filter), "{filter}");
        }
    }
}

//! Settings: built-in defaults < TOML file < `MOLICEIRO__SECTION__KEY` environment < command line.
//!
//! Every value keeps its source, so that an error about it names the key, the source, and the
//! values that are allowed.

mod context;
pub mod list;
mod loader;
mod origin;
mod print;
mod renamed;

use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

use moliceiro_nats::{NatsSettings, StreamsSettings};

pub use loader::{Loader, Settings};

/// An invalid value of a section's key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The key within its section.
    pub key: &'static str,
    /// The values that are allowed, as text behind "give".
    pub allowed: String,
}

impl Problem {
    /// A problem with `key`; `allowed` describes its allowed values.
    pub fn new(key: &'static str, allowed: impl Into<String>) -> Self {
        Self { key, allowed: allowed.into() }
    }
}

/// One table of the settings file.
pub trait Section: Default + Serialize + DeserializeOwned {
    /// The table's name in the file, such as `log`.
    const NAME: &'static str;
    /// The keys whose values are never shown.
    const SECRETS: &'static [&'static str] = &[];

    /// The keys whose values are invalid.
    fn problems(&self) -> Vec<Problem>;
}

impl Section for NatsSettings {
    const NAME: &'static str = "nats";
    const SECRETS: &'static [&'static str] = &["password", "token"];

    fn problems(&self) -> Vec<Problem> {
        let problems = NatsSettings::problems(self);
        problems.into_iter().map(|(key, allowed)| Problem::new(key, allowed)).collect()
    }
}

impl Section for StreamsSettings {
    const NAME: &'static str = "streams";

    fn problems(&self) -> Vec<Problem> {
        let problems = StreamsSettings::problems(self);
        problems.iter().map(|p| Problem::new(p.key, p.allowed.to_string())).collect()
    }
}

/// All tables that a settings file may have. A service ignores those of other services.
pub const SECTIONS: [&str; 8] =
    ["log", "metrics", "nats", "streams", "ingest", "http", "detector", "aggregator"];

/// Invalid settings. Each message names the key, its source, and the values that are allowed.
#[derive(Debug, Error)]
pub enum SettingsError {
    /// The file cannot be read.
    #[error("the settings file {file}: {reason}")]
    File {
        /// The path as it was given.
        file: String,
        /// The system's or the parser's error.
        reason: String,
    },
    /// Unknown keys, values of the wrong type, or invalid values: one message each.
    #[error("{}", .0.join("\nerror: "))]
    Invalid(Vec<String>),
}

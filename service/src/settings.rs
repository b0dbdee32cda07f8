//! Settings: built-in defaults < TOML file < `MOLICEIRO__SECTION__KEY` environment < command line.
//!
//! Every value remembers where it came from, so that a wrong one can be told by its key, its
//! source, and what would do.

pub mod list;
mod loader;
mod print;
mod renamed;

use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

use moliceiro_nats::{NatsSettings, StreamsSettings};

pub use loader::{Loader, Settings};

/// A key of a section, and what would do as its value.
pub type Problem = (&'static str, String);

/// One table of the settings file, and the part of a program that it is for.
pub trait Section: Default + Serialize + DeserializeOwned {
    /// The table's name.
    const NAME: &'static str;
    /// The keys whose values are shown nowhere.
    const SECRETS: &'static [&'static str] = &[];

    /// The values that cannot be.
    fn problems(&self) -> Vec<Problem>;
}

impl Section for NatsSettings {
    const NAME: &'static str = "nats";

    fn problems(&self) -> Vec<Problem> {
        match self.check() {
            Ok(()) => vec![],
            Err(_) => vec![("url", "nats://HOST:PORT, or several with commas between".into())],
        }
    }
}

impl Section for StreamsSettings {
    const NAME: &'static str = "streams";

    fn problems(&self) -> Vec<Problem> {
        StreamsSettings::problems(self)
    }
}

/// All tables that a settings file may have. A service reads its own and leaves the others to the
/// others.
pub const SECTIONS: [&str; 8] =
    ["log", "metrics", "nats", "streams", "ingest", "http", "detector", "aggregator"];

/// Settings that cannot be used. Each names the key, where it came from, and what would do.
#[derive(Debug, Error)]
pub enum SettingsError {
    /// The file cannot be read.
    #[error("the settings file {file}: {reason}")]
    File {
        /// Its path.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Keys nobody knows, values of the wrong type, or values that cannot be.
    #[error("{}", .0.join("\nerror: "))]
    Invalid(Vec<String>),
}

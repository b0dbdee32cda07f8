use moliceiro_nats::{NatsSettings, StreamsSettings};

use crate::program::Base;
use crate::settings::{Section, Settings, SettingsError};

/// The section of a service's own settings.
pub trait ServiceSection: Section {
    /// Where [`Listen::Auto`](crate::Listen::Auto) serves the service's metrics.
    const METRICS_PORT: u16;
    /// The streams that the service deletes messages from, and so must be permitted to.
    const DELETES_FROM: &'static [&'static str] = &[];
}

/// The settings of a service: its own section, and those that every service has.
#[derive(Clone, Debug)]
pub struct Service<S> {
    /// `[log]` and `[metrics]`, which every program has.
    pub base: Base,
    /// `[nats]`
    pub nats: NatsSettings,
    /// `[streams]`
    pub streams: StreamsSettings,
    /// The service's own section, such as `[ingest]`.
    pub section: S,
}

impl<S: ServiceSection> Service<S> {
    /// Reads and checks the sections.
    pub fn from_settings(settings: &Settings) -> Result<Self, SettingsError> {
        let base = Base {
            log: settings.section()?,
            metrics: settings.section()?,
            metrics_port: S::METRICS_PORT,
        };
        Ok(Self {
            base,
            nats: settings.section()?,
            streams: settings.section()?,
            section: settings.section()?,
        })
    }
}

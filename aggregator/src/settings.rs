use std::time::Duration;

use moliceiro_nats::messages::AlarmRule;
use moliceiro_nats::{NatsSettings, StreamsSettings};
use moliceiro_service::settings::Problem;
use moliceiro_service::{Base, Section, Settings, SettingsError};
use serde::{Deserialize, Serialize};

mod rules;

/// Settings `[aggregator]`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AggregatorSettings {
    /// What is printed on standard output of each video: `text`, `json` (one line), or `none`.
    pub output: OutputFormat,
    /// Totals are written no more often than this; a result that comes after a pause is counted at
    /// once.
    #[serde(with = "humantime_serde")]
    pub linger: Duration,
    /// Alarms of videos whose upload names none: a list, or one text with `;` between them.
    #[serde(deserialize_with = "rules::deserialize")]
    pub alarms: Vec<AlarmRule>,
}

/// The alarm that the system before this one had by default: `person > 10`.
const MOST_PERSONS: u32 = 10;

/// How a summary is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OutputFormat {
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
    /// Nothing: the summary is published only.
    None,
}

impl Default for AggregatorSettings {
    fn default() -> Self {
        Self {
            output: OutputFormat::Text,
            linger: Duration::from_millis(100),
            alarms: vec![AlarmRule::more_than("person", MOST_PERSONS)],
        }
    }
}

impl Section for AggregatorSettings {
    const NAME: &'static str = "aggregator";

    fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if self.linger > Duration::from_secs(5) {
            problems.push(Problem::new("linger", "5s or shorter"));
        }
        if self.alarms.len() > AlarmRule::MOST {
            problems.push(Problem::new("alarms", format!("{} rules or fewer", AlarmRule::MOST)));
        }
        problems
    }
}

/// Where [`moliceiro_service::Listen::Auto`] serves metrics.
const METRICS_PORT: u16 = 9473;

/// All that an aggregator needs to know.
#[derive(Clone, Debug)]
pub struct AggregatorService {
    /// `[log]` and `[metrics]`
    pub base: Base,
    /// `[nats]`
    pub nats: NatsSettings,
    /// `[streams]`
    pub streams: StreamsSettings,
    /// `[aggregator]`
    pub aggregator: AggregatorSettings,
}

impl AggregatorService {
    /// Reads and checks the sections.
    pub fn from_settings(settings: &Settings) -> Result<Self, SettingsError> {
        let base = Base {
            log: settings.section()?,
            metrics: settings.section()?,
            metrics_port: METRICS_PORT,
        };
        Ok(Self {
            base,
            nats: settings.section()?,
            streams: settings.section()?,
            aggregator: settings.section()?,
        })
    }
}

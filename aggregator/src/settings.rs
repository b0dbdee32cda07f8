use std::time::Duration;

use moliceiro_nats::messages::AlarmRule;
use moliceiro_service::settings::Problem;
use moliceiro_service::{Section, Service, ServiceSection};
use serde::{Deserialize, Serialize};

mod rules;

/// Settings `[aggregator]`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AggregatorSettings {
    /// How alarms and summaries are printed on standard output: `text`, `json` (one line for each
    /// summary), or `none`.
    pub output: OutputFormat,
    /// Totals are written at most once in this time. A result that arrives after a pause is counted
    /// at once.
    #[serde(with = "humantime_serde")]
    pub linger: Duration,
    /// Alarm rules of videos whose upload has none: a list, or one text with `;` between the rules.
    /// A rule about a line or a zone holds in the videos that have one of that name; for others, the
    /// log says that it does not.
    #[serde(deserialize_with = "rules::deserialize")]
    pub alarms: Vec<AlarmRule>,
}

/// The default alarm is `person > 10`, as in the system that this one replaced.
const MAX_PERSONS: u32 = 10;

/// A longer delay would make progress hard to follow.
const MAX_LINGER: Duration = Duration::from_secs(5);

/// How alarms and summaries are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OutputFormat {
    /// Lines for people.
    Text,
    /// One JSON object per summary, each on a line. Alarms are not printed.
    Json,
    /// Not at all: they are only published.
    None,
}

impl Default for AggregatorSettings {
    fn default() -> Self {
        Self {
            output: OutputFormat::Text,
            linger: Duration::from_millis(100),
            alarms: vec![AlarmRule::more_than("person", MAX_PERSONS)],
        }
    }
}

impl Section for AggregatorSettings {
    const NAME: &'static str = "aggregator";

    fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if self.linger > MAX_LINGER {
            problems.push(Problem::new("linger", "5s or shorter"));
        }
        if self.alarms.len() > AlarmRule::MOST {
            problems.push(Problem::new("alarms", format!("{} rules or fewer", AlarmRule::MOST)));
        }
        problems
    }
}

impl ServiceSection for AggregatorSettings {
    const METRICS_PORT: u16 = 9473;
}

/// All settings of an aggregator.
pub type AggregatorService = Service<AggregatorSettings>;

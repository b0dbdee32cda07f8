use std::time::Duration;

use moliceiro_nats::messages::AlarmRule;
use moliceiro_nats::subjects::{ADVISORIES, FRAMES, RESULTS, UPLOADS};
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
    /// A video that has not moved for this long, and whose frames are neither in the queue nor in
    /// the results, has lost them: they are decoded again.
    #[serde(with = "humantime_serde")]
    pub repair_after: Duration,
    /// How often lost frames of a video are decoded again if that brings none of them. Then they
    /// fail.
    pub repair_rounds: u32,
    /// How long the bytes of an upload are kept after its summary, so that it can be analysed
    /// again. `streams.keep` ends it in any case.
    #[serde(with = "humantime_serde")]
    pub keep_uploads: Duration,
}

/// The default alarm is `person > 10`, as in the system that this one replaced.
const MAX_PERSONS: u32 = 10;

/// A longer delay would make progress hard to follow.
const MAX_LINGER: Duration = Duration::from_secs(5);
/// Sooner, a frame that is just being analysed would seem to be lost.
const LEAST_REPAIR_AFTER: Duration = Duration::from_millis(100);

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
            repair_after: Duration::from_secs(30),
            repair_rounds: 3,
            keep_uploads: Duration::ZERO,
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
        if self.repair_after < LEAST_REPAIR_AFTER {
            problems.push(Problem::new("repair_after", "100ms or longer"));
        }
        if self.alarms.len() > AlarmRule::MOST {
            problems.push(Problem::new("alarms", format!("{} rules or fewer", AlarmRule::MOST)));
        }
        problems
    }
}

impl ServiceSection for AggregatorSettings {
    const METRICS_PORT: u16 = 9473;
    const DELETES_FROM: &'static [&'static str] = &[UPLOADS, FRAMES, RESULTS, ADVISORIES];
}

/// All settings of an aggregator.
pub type AggregatorService = Service<AggregatorSettings>;

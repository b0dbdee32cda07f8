//! How far the server's clock is from this machine's.

use std::time::{Duration, SystemTime};

/// How far another clock is from this machine's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockDifference {
    /// The least that they differ by: the time of the request is taken off.
    pub at_least: Duration,
    /// True if the other clock is ahead of this machine's.
    pub is_ahead: bool,
}

/// When a request was sent.
pub(super) struct Asked(SystemTime);

impl Asked {
    pub(super) fn now() -> Self {
        Self(SystemTime::now())
    }

    pub(super) fn answered(self) -> Answered {
        Answered { from: self.0, to: SystemTime::now() }
    }
}

/// The time during which the other clock was read.
pub(super) struct Answered {
    from: SystemTime,
    to: SystemTime,
}

impl Answered {
    /// `None` if the text is not a time.
    pub(super) fn difference(&self, other: &str) -> Option<ClockDifference> {
        let other = humantime::parse_rfc3339(other).ok()?;
        let ahead = other.duration_since(self.to).unwrap_or_default();
        let behind = self.from.duration_since(other).unwrap_or_default();
        Some(ClockDifference { at_least: ahead.max(behind), is_ahead: ahead > behind })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_answer_is_not_a_difference() {
        let at = |second: &str| humantime::parse_rfc3339(second).unwrap();
        let asked = Answered { from: at("2026-01-01T00:00:10Z"), to: at("2026-01-01T00:00:14Z") };
        for (other, seconds, is_ahead) in [
            ("2026-01-01T00:00:12.123456789Z", 0, false),
            ("2026-01-01T00:00:10Z", 0, false),
            ("2026-01-01T00:00:03Z", 7, false),
            ("2026-01-01T00:01:14Z", 60, true),
        ] {
            let found = asked.difference(other).unwrap();
            assert_eq!((found.at_least.as_secs(), found.is_ahead), (seconds, is_ahead), "{other}");
        }
        assert_eq!(asked.difference("soon"), None);
    }
}

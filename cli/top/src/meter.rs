//! Rates over the last seconds.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The time that rates are measured over: short enough to follow a change, long enough for a slow
/// model.
pub(crate) const WINDOW: Duration = Duration::from_secs(10);
const BUCKET: Duration = Duration::from_millis(250);

/// The rate of a counter that is read from time to time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Meter(VecDeque<(Instant, u64)>);

impl Meter {
    /// Takes a reading. If the counter decreased, it was reset, and the meter restarts.
    pub(crate) fn read(&mut self, now: Instant, value: u64) {
        if self.0.back().is_some_and(|(_, last)| value < *last) {
            self.0.clear();
        }
        self.0.push_back((now, value));
        // Keeps one reading from before the window, to know the value at its start.
        while self.0.get(1).is_some_and(|(at, _)| now.duration_since(*at) >= WINDOW) {
            self.0.pop_front();
        }
    }

    /// Per second; `None` before the second reading.
    pub(crate) fn rate(&self) -> Option<f64> {
        let ((from, first), (to, last)) = (self.0.front()?, self.0.back()?);
        let elapsed = to.duration_since(*from).as_secs_f64();
        (elapsed > 0.0).then(|| ((last - first) as f64 / elapsed).max(0.0))
    }
}

/// The events of the window, and the time that each took.
#[derive(Clone, Debug, Default)]
pub(crate) struct RecentEvents(VecDeque<Bucket>);

#[derive(Clone, Debug)]
struct Bucket {
    since: Instant,
    events: u64,
    microseconds: u64,
}

impl RecentEvents {
    /// Records an event that took this long.
    pub(crate) fn record(&mut self, now: Instant, microseconds: u64) {
        match self.0.back_mut() {
            Some(bucket) if now.duration_since(bucket.since) < BUCKET => {
                bucket.events += 1;
                bucket.microseconds += microseconds;
            }
            _ => self.0.push_back(Bucket { since: now, events: 1, microseconds }),
        }
    }

    /// Drops events older than the window.
    pub(crate) fn expire(&mut self, now: Instant) {
        while self.0.front().is_some_and(|bucket| now.duration_since(bucket.since) > WINDOW) {
            self.0.pop_front();
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Events per second, over the window or over `measured_time`, whichever is shorter.
    pub(crate) fn rate(&self, measured_time: Duration) -> f64 {
        let events: u64 = self.0.iter().map(|bucket| bucket.events).sum();
        events as f64 / measured_time.min(WINDOW).max(BUCKET).as_secs_f64()
    }

    /// Mean time of an event in milliseconds.
    pub(crate) fn mean_ms(&self) -> f64 {
        let (events, microseconds) = self
            .0
            .iter()
            .fold((0, 0), |(n, us), bucket| (n + bucket.events, us + bucket.microseconds));
        microseconds as f64 / 1000.0 / (events.max(1) as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_meter_shows_the_rate_of_the_last_seconds() {
        let (mut meter, start) = (Meter::default(), Instant::now());
        assert_eq!(meter.rate(), None);
        meter.read(start, 1000);
        assert_eq!(meter.rate(), None);
        for n in 1..=30 {
            meter.read(start + n * SECOND, 1000 + 20 * u64::from(n));
        }
        assert_eq!(meter.rate(), Some(20.0));
        for n in 31..=60 {
            meter.read(start + n * SECOND, 1600);
        }
        assert_eq!(meter.rate(), Some(0.0));
        assert!(meter.0.len() <= 12, "{}", meter.0.len());
    }

    #[test]
    fn a_counter_that_was_reset_has_no_negative_rate() {
        let (mut meter, start) = (Meter::default(), Instant::now());
        meter.read(start, 1000);
        meter.read(start + SECOND, 3);
        assert_eq!(meter.rate(), None);
        meter.read(start + 2 * SECOND, 13);
        assert_eq!(meter.rate(), Some(10.0));
    }

    #[test]
    fn events_expire_after_the_window() {
        let (mut recent, start) = (RecentEvents::default(), Instant::now());
        for n in 0..100 {
            recent.record(start + n * SECOND / 10, 30_000);
        }
        let now = start + 10 * SECOND;
        recent.expire(now);
        assert_eq!((recent.rate(10 * SECOND), recent.mean_ms()), (10.0, 30.0));
        assert_eq!(recent.rate(20 * SECOND), 10.0);
        recent.expire(now + WINDOW + SECOND);
        assert!(recent.is_empty());
        assert_eq!((recent.rate(30 * SECOND), recent.mean_ms()), (0.0, 0.0));
    }
}

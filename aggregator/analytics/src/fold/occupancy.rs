//! How many tracks are in a zone at once.
//!
//! Whether somebody was there is known later: a track counts from when it was first seen, once it
//! is confirmed, and up to when it was last seen, once it is lost. So a change is kept until no
//! earlier one can follow.

use moliceiro_messages::Occupancy;
use serde::{Deserialize, Serialize};

/// So many tracks were there from one time to another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Held {
    pub(super) from: f64,
    pub(super) to: f64,
    pub(super) tracks: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Occupied {
    /// When the video began.
    start: f64,
    /// What is before this time is settled.
    settled: f64,
    now: i64,
    /// Tracks times seconds.
    integral: f64,
    least: Option<i64>,
    most: i64,
    /// Changes that are not settled: time and difference, by time.
    changes: Vec<(f64, i8)>,
}

impl Occupied {
    pub(super) fn new(start: f64) -> Self {
        let (now, integral, least, most, changes) = (0, 0.0, None, 0, vec![]);
        Self { start, settled: start, now, integral, least, most, changes }
    }

    pub(super) fn enter(&mut self, at: f64) {
        self.change(at, 1);
    }

    pub(super) fn leave(&mut self, at: f64) {
        self.change(at, -1);
    }

    fn change(&mut self, at: f64, difference: i8) {
        let at = at.max(self.settled);
        let after = self.changes.partition_point(|(time, _)| *time <= at);
        self.changes.insert(after, (at, difference));
    }

    /// No change before this time follows. Calls `held` with what is settled, in order.
    pub(super) fn settle(&mut self, until: f64, held: &mut impl FnMut(Held)) {
        let n = self.changes.partition_point(|(time, _)| *time < until);
        if n == 0 {
            return;
        }
        let changes: Vec<_> = self.changes.drain(..n).collect();
        for (time, difference) in changes {
            self.hold(time, held);
            self.now += i64::from(difference);
        }
    }

    /// It was `now` up to this time.
    fn hold(&mut self, time: f64, held: &mut impl FnMut(Held)) {
        if time > self.settled {
            held(Held { from: self.settled, to: time, tracks: self.now.max(0).unsigned_abs() });
            self.integral += (time - self.settled) * self.now as f64;
            self.least = Some(self.least.map_or(self.now, |least| least.min(self.now)));
            self.most = self.most.max(self.now);
            self.settled = time;
        }
    }

    /// The video ends at this time; that of another one follows.
    pub(super) fn restart(&mut self, end: f64) -> Self {
        let mut next = Self::new(end);
        self.close(end, &mut |_| {});
        next.now = self.now;
        next
    }

    fn close(&mut self, end: f64, held: &mut impl FnMut(Held)) {
        self.settle(f64::INFINITY, held);
        if self.settled > self.start || end > self.settled {
            self.hold(end, held);
        } else {
            // A single frame has no length.
            held(Held { from: end, to: end, tracks: self.now.max(0).unsigned_abs() });
            (self.least, self.most) = (Some(self.now), self.now);
        }
    }

    pub(super) fn start(&self) -> f64 {
        self.start
    }

    /// Calls `held` with what would be settled if the video ended at this time.
    pub(super) fn rest(&self, end: f64, held: &mut impl FnMut(Held)) {
        self.clone().close(end, held);
    }

    pub(super) fn summary(&self, end: f64) -> Occupancy {
        let mut closed = self.clone();
        closed.close(end, &mut |_| {});
        let duration = closed.settled - closed.start;
        let mean =
            if duration > 0.0 { closed.integral / duration } else { closed.now.max(0) as f64 };
        let least = closed.least.unwrap_or(0).max(0).unsigned_abs();
        Occupancy { least, mean, most: closed.most.max(0).unsigned_abs() }
    }
}

/// Two times that follow each other.
pub(super) fn joined(a: (Occupancy, f64), b: (Occupancy, f64)) -> (Occupancy, f64) {
    let ((a, before), (b, after)) = (a, b);
    let both = before + after;
    let mean = if both > 0.0 { (a.mean * before + b.mean * after) / both } else { b.mean };
    (Occupancy { least: a.least.min(b.least), mean, most: a.most.max(b.most) }, both)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_may_come_late_and_the_mean_is_over_time() {
        let mut zone = Occupied::new(10.0);
        zone.enter(12.0);
        zone.enter(10.0);
        zone.leave(11.0);
        zone.settle(11.5, &mut |_| {});
        zone.enter(13.0);
        zone.leave(13.0);
        zone.leave(14.0);
        let Occupancy { least, mean, most } = zone.summary(20.0);
        assert_eq!((least, most), (0, 1), "one leaves when the next enters");
        assert!((mean - 0.3).abs() < 1e-12, "{mean}");
    }

    #[test]
    fn what_is_there_all_the_time_is_the_least() {
        let mut zone = Occupied::new(0.0);
        (0..3).for_each(|_| zone.enter(0.0));
        assert_eq!(zone.summary(5.0), Occupancy { least: 3, mean: 3.0, most: 3 });
        assert_eq!(zone.summary(0.0), Occupancy { least: 3, mean: 3.0, most: 3 });
        let mut next = zone.restart(5.0);
        next.leave(6.0);
        assert_eq!(next.summary(7.0), Occupancy { least: 2, mean: 2.5, most: 3 });
    }
}

//! How long visits were: a histogram, whose size does not grow with their number.

use std::collections::BTreeMap;

use moliceiro_messages::Dwell;
use serde::{Deserialize, Serialize};

/// The shortest steps in a second.
const STEPS: f64 = 10.0;
/// Up to so many steps, each length has a place of its own. Above, so many do in each octave.
const EXACT: u64 = 128;
const IN_OCTAVE: u64 = EXACT / 2;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Dwells {
    visits: u64,
    sum: f64,
    longest: f64,
    /// Visits, by place of their length.
    lengths: BTreeMap<u32, u64>,
}

impl Dwells {
    pub(super) fn add(&mut self, seconds: f64) {
        self.visits += 1;
        self.sum += seconds;
        self.longest = self.longest.max(seconds);
        *self.lengths.entry(place(seconds)).or_insert(0) += 1;
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.visits += other.visits;
        self.sum += other.sum;
        self.longest = self.longest.max(other.longest);
        for (place, n) in &other.lengths {
            *self.lengths.entry(*place).or_insert(0) += n;
        }
    }

    pub(super) fn summary(&self) -> Option<Dwell> {
        (self.visits > 0).then(|| Dwell {
            mean_s: self.sum / self.visits as f64,
            median_s: self.quantile(self.visits.div_ceil(2)),
            p95_s: self.quantile(self.visits - self.visits / 20),
            longest_s: self.longest,
        })
    }

    /// The length of the visit of this rank, from 1, the shortest one.
    fn quantile(&self, rank: u64) -> f64 {
        let mut below = 0;
        let reached = self.lengths.iter().find(|(_, n)| {
            below += **n;
            below >= rank
        });
        reached.map_or(0.0, |(place, _)| length(*place)).min(self.longest)
    }
}

/// Rounded down to a step, above 12.8 s to a 64th of the next smaller power of two.
#[expect(clippy::cast_possible_truncation, reason = "`as` saturates, and the result is below 4096")]
fn place(seconds: f64) -> u32 {
    let steps = (seconds * STEPS).round().max(0.0) as u64;
    if steps < EXACT {
        return steps as u32;
    }
    let shift = u64::from(steps.ilog2() - IN_OCTAVE.ilog2());
    (shift * IN_OCTAVE + (steps >> shift)) as u32
}

/// The middle of what has this place, in seconds.
fn length(place: u32) -> f64 {
    let place = u64::from(place);
    if place < EXACT {
        return place as f64 / STEPS;
    }
    let shift = place / IN_OCTAVE - 1;
    let (first, width) = ((place % IN_OCTAVE + IN_OCTAVE) << shift, 1_u64 << shift);
    (first as f64 + (width - 1) as f64 / 2.0) / STEPS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_is_kept_within_a_hundredth() {
        let mut seconds = 0.0;
        while seconds < 1e7 {
            let kept = length(place(seconds));
            assert!((kept - seconds).abs() <= 0.051_f64.max(seconds * 0.008), "{seconds}: {kept}");
            seconds = seconds * 1.003 + 0.03;
        }
        assert!(place(f64::MAX) < 4096);
        assert_eq!(length(place(12.7)), 12.7);
    }

    #[test]
    fn the_median_and_the_95th_of_a_hundred() {
        let mut dwells = Dwells::default();
        assert_eq!(dwells.summary(), None);
        (1..=100).rev().for_each(|n| dwells.add(f64::from(n) / 10.0));
        let Dwell { mean_s, median_s, p95_s, longest_s } = dwells.summary().unwrap();
        assert!((mean_s - 5.05).abs() < 1e-9 && longest_s == 10.0, "{mean_s} {longest_s}");
        assert_eq!((median_s, p95_s), (5.0, 9.5));
    }
}

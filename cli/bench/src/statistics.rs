//! Condenses repeated measurements.

use serde::{Deserialize, Serialize};

/// A value that was measured several times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Measured {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
    /// Median absolute deviation from the median.
    pub(crate) mad: f64,
    pub(crate) times: usize,
}

impl Measured {
    /// `None` without values.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let values = sorted(values);
        let (min, max) = (*values.first()?, *values.last()?);
        let median = middle(&values);
        let mad = middle(&sorted(values.iter().map(|value| (value - median).abs())));
        Some(Self { median, min, max, mad, times: values.len() })
    }

    /// The range from minimum to maximum, as a share of the median.
    pub(crate) fn spread(&self) -> f64 {
        if self.median == 0.0 { 0.0 } else { (self.max - self.min) / self.median.abs() }
    }
}

/// Percentiles of a time, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Latency {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
}

impl Latency {
    /// `None` without values. They are in milliseconds.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let values = sorted(values);
        Some(Self { p50: quantile(&values, 0.5)?, p99: quantile(&values, 0.99)? })
    }
}

fn sorted(values: impl IntoIterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<_> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values
}

fn middle(sorted: &[f64]) -> f64 {
    let half = sorted.len() / 2;
    if sorted.len().is_multiple_of(2) {
        (sorted[half - 1] + sorted[half]) / 2.0
    } else {
        sorted[half]
    }
}

/// The smallest value that at least this share of the values does not exceed (nearest rank).
fn quantile(sorted: &[f64], share: f64) -> Option<f64> {
    #[expect(clippy::cast_possible_truncation, reason = "a share of the length is at most that")]
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_and_its_deviation_disregard_an_outlier() {
        let measured = Measured::of([10.0, 11.0, 12.0, 9.0, 100.0]).unwrap();
        assert_eq!(measured, Measured { median: 11.0, min: 9.0, max: 100.0, mad: 1.0, times: 5 });
        assert_eq!(Measured::of([1.0, 3.0]).map(|m| (m.median, m.spread())), Some((2.0, 1.0)));
        assert_eq!(Measured::of([]), None);
    }

    #[test]
    fn quantiles_are_values_that_were_measured() {
        let hundred = (1..=100).rev().map(f64::from);
        assert_eq!(Latency::of(hundred), Some(Latency { p50: 50.0, p99: 99.0 }));
        assert_eq!(Latency::of([7.0]), Some(Latency { p50: 7.0, p99: 7.0 }));
        assert_eq!(Latency::of([]), None);
    }
}

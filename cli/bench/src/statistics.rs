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
}

/// Where the true value of a ratio is with 95 % confidence.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Interval {
    pub(crate) ratio: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

impl Interval {
    /// Of ratios that were measured in pairs. `None` for fewer than two.
    ///
    /// The logarithms of the ratios are taken as normally distributed: Student's t.
    pub(crate) fn of(ratios: &[f64]) -> Option<Self> {
        let logarithms: Vec<_> = ratios.iter().map(|ratio| ratio.ln()).collect();
        let freedom = logarithms.len().checked_sub(1).filter(|freedom| *freedom > 0)?;
        let times = logarithms.len() as f64;
        let mean = logarithms.iter().sum::<f64>() / times;
        let squares = logarithms.iter().map(|value| (value - mean).powi(2)).sum::<f64>();
        let quantile = STUDENT.get(freedom - 1).copied().unwrap_or(NORMAL);
        let half = quantile * (squares / freedom as f64 / times).sqrt();
        Some(Self { ratio: mean.exp(), low: (mean - half).exp(), high: (mean + half).exp() })
    }

    /// Half the width, as a share of the ratio.
    pub(crate) fn half_width(&self) -> f64 {
        (self.high - self.low) / 2.0 / self.ratio
    }
}

/// The 97.5 % quantile of Student's t distribution with 1, 2, … degrees of freedom.
const STUDENT: [f64; 20] = [
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160,
    2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086,
];
/// As [`STUDENT`] with more degrees, a little too small.
const NORMAL: f64 = 2.0;

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
        assert_eq!(Measured::of([1.0, 3.0]).map(|m| m.median), Some(2.0));
        assert_eq!(Measured::of([]), None);
    }

    #[test]
    fn the_interval_of_a_ratio_is_that_of_students_t() {
        // scipy.stats.t.interval(0.95, 4, mean, sem) of the logarithms.
        let interval = Interval::of(&[0.95, 0.97, 0.96, 0.99, 0.94]).unwrap();
        for (value, expected) in
            [(interval.ratio, 0.961_847), (interval.low, 0.938_341), (interval.high, 0.985_941)]
        {
            assert!((value - expected).abs() < 1e-4, "{interval:?}");
        }
        assert!(interval.half_width() > 0.02 && Interval::of(&[0.9]).is_none());
        assert_eq!(Interval::of(&[1.0; 30]).map(|same| (same.low, same.high)), Some((1.0, 1.0)));
    }

    #[test]
    fn quantiles_are_values_that_were_measured() {
        let hundred = (1..=100).rev().map(f64::from);
        assert_eq!(Latency::of(hundred), Some(Latency { p50: 50.0, p99: 99.0 }));
        assert_eq!(Latency::of([7.0]), Some(Latency { p50: 7.0, p99: 7.0 }));
        assert_eq!(Latency::of([]), None);
    }
}

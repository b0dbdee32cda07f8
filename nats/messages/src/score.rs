use std::fmt;

use serde::{Deserialize, Serialize};

/// A score from 0 to 1 in ten thousandths, as results store it.
///
/// It is rounded up, so a score is above a threshold of four decimals exactly if it was before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub struct Score(u16);

impl Score {
    /// The highest score.
    pub const ONE: Self = Self(10_000);

    /// The least score that is not below `score`. What is not from 0 to 1 becomes the nearer one
    /// of the two, and NaN becomes 0.
    pub fn at_least(score: f32) -> Self {
        let Self(nearest) = Self::nearest(score);
        let neighbours = nearest.saturating_sub(1)..=nearest;
        neighbours.map(Self).find(|near| near.value() >= score).unwrap_or_else(|| {
            // Nothing is as high as a NaN, whose nearest is 0.
            if score.is_nan() { Self(0) } else { Self(nearest + 1).min(Self::ONE) }
        })
    }

    /// The score nearest to a threshold: exactly that one if it has four decimals.
    pub fn nearest(threshold: f32) -> Self {
        #[expect(clippy::cast_possible_truncation, reason = "it is clamped, and NaN becomes 0")]
        #[expect(clippy::cast_sign_loss, reason = "it is clamped")]
        let rounded = (f64::from(threshold) * 10_000.0).round().clamp(0.0, 10_000.0) as u16;
        Self(rounded)
    }

    /// The score as a number from 0 to 1.
    pub fn value(self) -> f32 {
        f32::from(self.0) / 10_000.0
    }
}

impl TryFrom<u16> for Score {
    type Error = String;

    fn try_from(score: u16) -> Result<Self, String> {
        let score = Self(score);
        if score <= Self::ONE { Ok(score) } else { Err(format!("{} is not a score", score.0)) }
    }
}

impl From<Score> for u16 {
    fn from(score: Score) -> Self {
        score.0
    }
}

impl fmt::Display for Score {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all() -> impl Iterator<Item = Score> {
        (0..=10_000).map(Score)
    }

    /// The next number above or below.
    fn neighbours(value: f32) -> [f32; 3] {
        [value.next_down().clamp(0.0, 1.0), value, value.next_up().clamp(0.0, 1.0)]
    }

    #[test]
    fn a_threshold_of_four_decimals_is_kept_as_it_is() {
        for score in all() {
            let text = format!("{}.{:04}", score.0 / 10_000, score.0 % 10_000);
            let threshold: f32 = text.parse().unwrap();
            assert_eq!(score.value(), threshold, "{text}");
            assert_eq!((Score::nearest(threshold), Score::at_least(threshold)), (score, score));
        }
    }

    #[test]
    fn the_scores_beside_each_threshold_stay_on_their_sides() {
        for threshold in all() {
            for score in neighbours(threshold.value()) {
                let stored = Score::at_least(score);
                assert_eq!(stored > threshold, score > threshold.value(), "{score} {threshold:?}");
            }
        }
    }

    #[test]
    fn what_is_not_a_score_becomes_one() {
        for (score, stored) in [
            (-1.0, 0),
            (-0.0, 0),
            (f32::MIN_POSITIVE, 1),
            (1.0, 10_000),
            (1.001, 10_000),
            (f32::INFINITY, 10_000),
            (f32::NEG_INFINITY, 0),
            (f32::NAN, 0),
        ] {
            assert_eq!(Score::at_least(score), Score(stored), "{score}");
        }
        assert!(Score::try_from(10_001).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 20_000, ..ProptestConfig::default() })]

        #[test]
        fn a_score_is_above_a_threshold_of_four_decimals_exactly_if_it_was(
            score in prop_oneof![0.0_f32..=1.0, (0_u32..=0x3f80_0000).prop_map(f32::from_bits)],
            threshold in (0_u16..=10_000).prop_map(Score),
        ) {
            let stored = Score::at_least(score);
            prop_assert_eq!(stored > threshold, score > threshold.value());
            prop_assert_eq!(stored.value() > threshold.value(), score > threshold.value());
            prop_assert!(stored.value() >= score && stored.value() - score <= 1.1e-4);
            prop_assert_eq!(Score::at_least(stored.value()), stored);
        }
    }
}

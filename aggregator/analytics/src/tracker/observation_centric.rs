//! What OC-SORT (Cao et al., arXiv 2203.14360) adds to a filter, which trusts its own expectations
//! too much while nothing is seen:
//!
//! * Momentum (OCM, 4.2): an object in the direction in which the track moves is preferred. The
//!   direction is the one between two observations that lie `DELTA` apart. The paper weighs the
//!   difference of two angles; here, it is half the cosine of that difference, which has the same
//!   sign and order and no arc cosine, whose last bit depends on the platform.
//! * Recovery (OCR, 4.2 and appendix): what is left over is matched with where tracks were last
//!   seen. Here, ByteTrack does so too.
//! * Re-update (ORU, 4.1): when a lost track is seen again, the filter returns to its state at the
//!   last observation and follows the straight way from there to the new one.

use serde::{Deserialize, Serialize};

use super::boxes::Box4;
use super::filter::{Motion, Noise};

/// Time between the two observations of a direction: three frames of 30 in a second, as in the
/// paper.
const DELTA: f64 = 0.1;

/// Observations kept, the last ones.
const KEPT: usize = 8;

/// Steps of a way between two observations.
const MOST_STEPS: u32 = 16;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Observations {
    /// Time and box.
    seen: Vec<(f64, Box4)>,
    /// While it is lost: the filter at the last observation, its time, and frames missed.
    lost: Option<(Motion, f64, u32)>,
}

impl Observations {
    pub(super) fn new(now: f64, seen: Box4) -> Self {
        Self { seen: vec![(now, seen)], lost: None }
    }

    pub(super) fn add(&mut self, now: f64, seen: Box4) {
        self.lost = None;
        if self.seen.len() == KEPT {
            self.seen.remove(0);
        }
        self.seen.push((now, seen));
    }

    pub(super) fn miss(&mut self, before: &Motion, at: f64) {
        match &mut self.lost {
            Some((_, _, missed)) => *missed = missed.saturating_add(1),
            lost @ None => *lost = Some((*before, at, 1)),
        }
    }

    pub(super) fn is_lost(&self) -> bool {
        self.lost.is_some()
    }

    fn last(&self) -> Box4 {
        #[expect(clippy::expect_used, reason = "it begins with one, and each removal adds one")]
        self.seen.last().expect("an observation").1
    }

    /// From -0.5 to 0.5: how well a box lies in the direction of the track. OCM.
    pub(super) fn consistency(&self, now: f64, seen: Box4) -> f64 {
        let Some(((last, last_box), before)) = self.seen.split_last() else { return 0.0 };
        let earlier = |than: f64| {
            let old = before.iter().rev().find(|(time, _)| than - time >= DELTA * 0.99);
            old.or(before.first())
        };
        let (Some((_, from)), Some((_, origin))) = (earlier(*last), earlier(now)) else {
            return 0.0;
        };
        let way = |from: Box4, to: Box4| [0, 1].map(|k| to.centre()[k] - from.centre()[k]);
        let (track, object) = (way(*from, *last_box), way(*origin, seen));
        let dot = track[0] * object[0] + track[1] * object[1];
        let length = |way: [f64; 2]| (way[0] * way[0] + way[1] * way[1]).sqrt();
        let lengths = length(track) * length(object);
        if lengths > 0.0 { dot / lengths / 2.0 } else { 0.0 }
    }

    /// The filter at this time, before it is updated with the new box. ORU.
    pub(super) fn updated_again(&self, now: f64, seen: Box4, noise: &Noise) -> Motion {
        #[expect(clippy::expect_used, reason = "asked for a lost track only")]
        let (mut motion, since, missed) = self.lost.expect("a lost track");
        let last = self.last();
        let steps = missed.min(MOST_STEPS) + 1;
        let dt = (now - since) / f64::from(steps);
        for n in 1..=steps {
            motion.predict(dt, noise);
            if n < steps {
                let share = f64::from(n) / f64::from(steps);
                let between = [0, 1, 2, 3].map(|k| last.0[k] + share * (seen.0[k] - last.0[k]));
                motion.update(Box4(between), 1.0, noise);
            }
        }
        motion
    }
}

//! AP50 as COCO defines it (T.-Y. Lin et al., "Microsoft COCO: Common Objects in Context", arXiv
//! 1405.0312, and its evaluation, section "Metrics"): the mean precision at 101 recalls, with pairs
//! that overlap by half.

use crate::sequence::{SAME, Sequence};

/// How many recalls precision is measured at.
const RECALLS: usize = 101;

/// Something found, after it was compared with the truth.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Judged {
    pub score: f64,
    pub is_right: bool,
}

/// What the boxes of one frame or picture are compared with.
pub(crate) trait Overlaps {
    /// The overlap of a box of the truth with one that was found.
    fn overlap(&self, truth: usize, found: usize) -> f64;
    /// True if finding this box of the truth is neither right nor wrong, however often.
    fn is_ignored(&self, truth: usize) -> bool;
}

/// Judges what was found in one frame, best score first: each takes the box of the truth that it
/// overlaps most and that is still free. Those that take an ignored one are left out.
pub(crate) fn judge(of: &impl Overlaps, truth: usize, scores: &[f64], most: usize) -> Vec<Judged> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]));
    order.truncate(most);
    let (mut boxes, ignored): (Vec<_>, Vec<_>) =
        (0..truth).partition(|index| !of.is_ignored(*index));
    boxes.extend(ignored);
    let mut is_free = vec![true; truth];
    let mut judged = Vec::with_capacity(order.len());
    for found in order {
        let mut best: Option<(usize, f64)> = None;
        for &index in &boxes {
            if !is_free[index] && !of.is_ignored(index) {
                continue;
            }
            if of.is_ignored(index) && best.is_some_and(|(best, _)| !of.is_ignored(best)) {
                break;
            }
            let overlap = of.overlap(index, found);
            // Of equal ones, the last, as in COCO's evaluation.
            if overlap >= best.map_or(SAME, |(_, best)| best) {
                best = Some((index, overlap));
            }
        }
        match best {
            Some((index, _)) if of.is_ignored(index) => {}
            best => {
                best.into_iter().for_each(|(index, _)| is_free[index] = false);
                judged.push(Judged { score: scores[found], is_right: best.is_some() });
            }
        }
    }
    judged
}

/// The average precision of everything that was found, with so many boxes in the truth.
pub(crate) fn average(mut judged: Vec<Judged>, truth: usize) -> f64 {
    judged.sort_by(|a, b| b.score.total_cmp(&a.score));
    let mut right = 0_usize;
    let mut curve: Vec<(f64, f64)> = (1_usize..)
        .zip(&judged)
        .map(|(found, judged)| {
            right += usize::from(judged.is_right);
            (right as f64 / truth.max(1) as f64, right as f64 / found as f64)
        })
        .collect();
    let mut highest = 0.0_f64;
    for (_, precision) in curve.iter_mut().rev() {
        highest = highest.max(*precision);
        *precision = highest;
    }
    let at = |step: usize| {
        let recall = step as f64 / (RECALLS - 1) as f64;
        let reached = curve.partition_point(|(of, _)| *of < recall);
        curve.get(reached).map_or(0.0, |(_, precision)| *precision)
    };
    (0..RECALLS).map(at).sum::<f64>() / RECALLS as f64
}

impl Overlaps for crate::sequence::Frame {
    fn overlap(&self, truth: usize, found: usize) -> f64 {
        Self::overlap(self, truth, found)
    }

    fn is_ignored(&self, _truth: usize) -> bool {
        false
    }
}

/// The AP50 of the boxes of all tracks, by their scores. `None` if a row has no score.
pub fn of_tracks(sequence: &Sequence) -> Option<f64> {
    let mut judged = Vec::new();
    for frame in &sequence.frames {
        let scores: Vec<f64> = frame.scores.iter().copied().collect::<Option<_>>()?;
        judged.extend(judge(frame, frame.truth.len(), &scores, usize::MAX));
    }
    Some(average(judged, sequence.truth_boxes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(found: &[(f64, bool)]) -> Vec<Judged> {
        found.iter().map(|&(score, is_right)| Judged { score, is_right }).collect()
    }

    #[test]
    fn average_precision_is_the_area_below_the_best_precision_at_each_recall() {
        assert_eq!(average(judged(&[(0.9, true), (0.8, true)]), 2), 1.0);
        assert_eq!(average(judged(&[(0.9, false)]), 1), 0.0);
        assert_eq!(average(vec![], 1), 0.0);
        // Found first and third of two: precision 1 up to the recall 0.5, then 2/3.
        let three = average(judged(&[(0.7, true), (0.9, true), (0.8, false)]), 2);
        assert!((three - (51.0 + 50.0 * 2.0 / 3.0) / 101.0).abs() < 1e-12, "{three}");
        // The other of the two is never found: 51 of 101 recalls are reached.
        assert!((average(judged(&[(0.9, true)]), 2) - 51.0 / 101.0).abs() < 1e-12);
    }
}

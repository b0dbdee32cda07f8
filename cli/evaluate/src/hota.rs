//! HOTA (J. Luiten et al., "HOTA: A Higher Order Metric for Evaluating Multi-object Tracking", IJCV
//! 2021, arXiv 2009.07736).

use std::collections::BTreeMap;

use crate::assignment::Costs;
use crate::sequence::Sequence;

/// How many overlaps are asked for: 0.05, 0.1, … 0.95.
const LIMITS: usize = 19;

/// Means over all limits of the overlap.
#[derive(Clone, Debug, PartialEq)]
pub struct Hota {
    /// The geometric mean of `det_a` and `ass_a` for each limit.
    pub hota: f64,
    /// How well boxes are found.
    pub det_a: f64,
    /// How well boxes of the same object are held together.
    pub ass_a: f64,
    /// How well boxes that are found overlap.
    pub loc_a: f64,
}

#[derive(Clone, Debug, Default)]
struct Limit {
    matches: usize,
    overlaps: f64,
    /// In how many frames an object has this track.
    shared: BTreeMap<(usize, usize), usize>,
}

impl Hota {
    /// Pairs up the boxes of each frame by overlap and by how much object and track agree in the
    /// whole video, and judges the pairs at each limit.
    pub fn of(sequence: &Sequence) -> Self {
        let (truth_lengths, predicted_lengths) = sequence.lengths();
        let length = |object: usize, track: usize| truth_lengths[object] + predicted_lengths[track];
        let agreement = agreement(sequence, length);
        let mut limits = vec![Limit::default(); LIMITS];
        for frame in &sequence.frames {
            let score = |row: usize, column: usize| {
                let overlap = frame.overlap(row, column);
                if overlap == 0.0 {
                    return 0.0;
                }
                let pair = (frame.truth[row], frame.predicted[column]);
                agreement.get(&pair).copied().unwrap_or_default() * overlap
            };
            let costs = Costs::new(frame.truth.len(), frame.predicted.len(), |row, column| {
                -score(row, column)
            });
            for (row, column) in costs.assign() {
                let overlap = frame.overlap(row, column);
                let pair = (frame.truth[row], frame.predicted[column]);
                for (n, limit) in limits.iter_mut().enumerate() {
                    if overlap >= 0.05 + n as f64 * 0.05 - f64::EPSILON {
                        limit.matches += 1;
                        limit.overlaps += overlap;
                        *limit.shared.entry(pair).or_default() += 1;
                    }
                }
            }
        }
        let boxes = sequence.truth_boxes() + sequence.predicted_boxes();
        // A sum of nothing is -0.
        let mean =
            |of: &dyn Fn(&Limit) -> f64| limits.iter().map(of).sum::<f64>() / LIMITS as f64 + 0.0;
        let det_a = |limit: &Limit| limit.matches as f64 / (boxes - limit.matches).max(1) as f64;
        let ass_a = |limit: &Limit| {
            let of_pair = |(pair, frames): (&(usize, usize), &usize)| {
                let frames = *frames as f64;
                frames * frames / (length(pair.0, pair.1) - frames).max(1.0)
            };
            limit.shared.iter().map(of_pair).sum::<f64>() / limit.matches.max(1) as f64
        };
        Self {
            hota: mean(&|limit| (det_a(limit) * ass_a(limit)).sqrt()),
            det_a: mean(&det_a),
            ass_a: mean(&ass_a),
            // With no pair at all, nothing is in the wrong place.
            loc_a: mean(&|limit| match limit.matches {
                0 => 1.0,
                matches => limit.overlaps / matches as f64,
            }),
        }
    }
}

/// How much an object and a track agree: the overlap of their boxes, as a share of all overlaps of
/// these boxes, over all frames.
fn agreement(
    sequence: &Sequence,
    length: impl Fn(usize, usize) -> f64,
) -> BTreeMap<(usize, usize), f64> {
    let mut shared: BTreeMap<(usize, usize), f64> = BTreeMap::new();
    for frame in &sequence.frames {
        let mut of_truth = vec![0.0; frame.truth.len()];
        let mut of_predicted = vec![0.0; frame.predicted.len()];
        for (row, column) in frame.pairs() {
            of_truth[row] += frame.overlap(row, column);
            of_predicted[column] += frame.overlap(row, column);
        }
        for (row, column) in frame.pairs() {
            let overlap = frame.overlap(row, column);
            let all = of_predicted[column] + of_truth[row] - overlap;
            if overlap > 0.0 && all > f64::EPSILON {
                let pair = (frame.truth[row], frame.predicted[column]);
                *shared.entry(pair).or_default() += overlap / all;
            }
        }
    }
    shared.iter_mut().for_each(|((object, track), sum)| *sum /= length(*object, *track) - *sum);
    shared
}

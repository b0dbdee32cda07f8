//! MOTA, MOTP, switches and fragmentations (K. Bernardin and R. Stiefelhagen, "Evaluating Multiple
//! Object Tracking Performance: The CLEAR MOT Metrics", EURASIP JIVP 2008), with overlap for
//! distance.

use crate::assignment::Costs;
use crate::sequence::{SAME, Sequence};

/// More than all overlaps of a frame: a pair of the frame before stays a pair if it can.
const STAYS: f64 = 1000.0;

/// What became of each box, with pairs that overlap by half.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Clear {
    /// Boxes of the truth with a predicted one.
    pub matches: usize,
    /// Boxes of the truth without a predicted one.
    pub misses: usize,
    /// Predicted boxes without one of the truth.
    pub false_positives: usize,
    /// How often an object has another track than the last time it had one.
    pub switches: usize,
    /// How often an object has a track again after it had none.
    pub fragmentations: usize,
    overlaps: f64,
}

impl Clear {
    /// Pairs up the boxes of each frame.
    ///
    /// A frame without truth or without prediction does not interrupt a track, as in `TrackEval`.
    pub fn of(sequence: &Sequence) -> Self {
        let mut found = Self::default();
        let mut last_track: Vec<Option<usize>> = vec![None; sequence.truth_ids];
        // Of the frame before.
        let mut track: Vec<Option<usize>> = vec![None; sequence.truth_ids];
        let mut times_found = vec![0_usize; sequence.truth_ids];
        for frame in &sequence.frames {
            if frame.truth.is_empty() || frame.predicted.is_empty() {
                found.misses += frame.truth.len();
                found.false_positives += frame.predicted.len();
                continue;
            }
            let score = |row: usize, column: usize| {
                let overlap = frame.overlap(row, column);
                let stays = track[frame.truth[row]] == Some(frame.predicted[column]);
                match overlap < SAME - f64::EPSILON {
                    true => 0.0,
                    false => overlap + if stays { STAYS } else { 0.0 },
                }
            };
            let costs = Costs::new(frame.truth.len(), frame.predicted.len(), |row, column| {
                -score(row, column)
            });
            let mut pairs = costs.assign();
            pairs.retain(|(row, column)| score(*row, *column) > f64::EPSILON);
            let mut now = vec![None; sequence.truth_ids];
            for (row, column) in &pairs {
                let (object, of) = (frame.truth[*row], frame.predicted[*column]);
                found.switches += usize::from(last_track[object].is_some_and(|last| last != of));
                times_found[object] += usize::from(track[object].is_none());
                last_track[object] = Some(of);
                now[object] = Some(of);
                found.overlaps += frame.overlap(*row, *column);
            }
            track = now;
            found.matches += pairs.len();
            found.misses += frame.truth.len() - pairs.len();
            found.false_positives += frame.predicted.len() - pairs.len();
        }
        found.fragmentations = times_found.into_iter().map(|times| times.saturating_sub(1)).sum();
        found
    }

    /// 1 − (misses + false positives + switches) / boxes of the truth.
    pub fn mota(&self) -> f64 {
        let mistakes = self.misses + self.false_positives + self.switches;
        1.0 - mistakes as f64 / self.truth().max(1) as f64
    }

    /// The mean overlap of the pairs.
    pub fn motp(&self) -> f64 {
        self.overlaps / self.matches.max(1) as f64
    }

    /// The share of the predicted boxes that are right.
    pub fn precision(&self) -> f64 {
        self.matches as f64 / (self.matches + self.false_positives).max(1) as f64
    }

    /// The share of the truth that is found.
    pub fn recall(&self) -> f64 {
        self.matches as f64 / self.truth().max(1) as f64
    }

    fn truth(&self) -> usize {
        self.matches + self.misses
    }
}

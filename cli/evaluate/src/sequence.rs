use std::collections::BTreeMap;

use thiserror::Error;

use crate::assignment::Costs;
use crate::motchallenge::Row;

/// The overlap that makes two boxes the same object.
pub(crate) const SAME: f64 = 0.5;
/// The most boxes of one frame, in the truth or in the prediction.
const MOST_BOXES: usize = 1000;

/// Truth and prediction of one video, frame by frame. Identities are numbered from 0.
#[derive(Clone, Debug)]
pub struct Sequence {
    pub(crate) frames: Vec<Frame>,
    /// How many different objects there are.
    pub truth_ids: usize,
    /// How many different tracks there are.
    pub predicted_ids: usize,
}

/// The boxes of one frame.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    /// The identity of each box of the truth.
    pub truth: Vec<usize>,
    /// The identity of each predicted box.
    pub predicted: Vec<usize>,
    /// The score of each predicted box, if all rows have one.
    pub scores: Vec<Option<f64>>,
    overlaps: Vec<f64>,
}

impl Frame {
    /// Intersection over union of a box of the truth with a predicted box.
    pub(crate) fn overlap(&self, truth: usize, predicted: usize) -> f64 {
        self.overlaps[truth * self.predicted.len() + predicted]
    }

    /// The indexes of all pairs of boxes.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        let predicted = self.predicted.len();
        (0..self.truth.len()).flat_map(move |row| (0..predicted).map(move |column| (row, column)))
    }
}

/// Truth and prediction cannot be compared.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum SequenceError {
    /// Nothing is evaluated.
    #[error("the truth has no box that is evaluated")]
    NoTruth,
    /// Comparing all boxes of a frame would take too long.
    #[error("frame {frame} has {boxes} boxes, and {MOST_BOXES} are the most")]
    TooMany {
        /// Its number.
        frame: u64,
        /// Of the truth, or predicted.
        boxes: usize,
    },
}

#[derive(Default)]
struct Rows<'a> {
    truth: Vec<&'a Row>,
    predicted: Vec<&'a Row>,
}

impl Sequence {
    /// Brings truth and prediction together as `MOTChallenge` does (J. Luiten et al., `TrackEval`).
    ///
    /// Boxes of the truth with the confidence 0 are not evaluated: missing them is not a mistake. A
    /// prediction that matches one of the class of a distractor is left out too. Up to MOT15 there
    /// are no classes, so a prediction in the place of a box that is not evaluated is a false one.
    pub fn new(truth: &[Row], predicted: &[Row]) -> Result<Self, SequenceError> {
        let mut by_frame: BTreeMap<u64, Rows<'_>> = BTreeMap::new();
        truth.iter().for_each(|row| by_frame.entry(row.frame).or_default().truth.push(row));
        predicted.iter().for_each(|row| by_frame.entry(row.frame).or_default().predicted.push(row));
        let has_distractors = truth.iter().any(Row::is_distractor);
        for (frame, rows) in &mut by_frame {
            let boxes = rows.truth.len().max(rows.predicted.len());
            if boxes > MOST_BOXES {
                return Err(SequenceError::TooMany { frame: *frame, boxes });
            }
            if has_distractors {
                remove_on_distractors(rows);
            }
            rows.truth.retain(|row| row.is_evaluated());
        }
        let mut truth_ids = BTreeMap::new();
        let mut predicted_ids = BTreeMap::new();
        for rows in by_frame.values() {
            truth_ids.extend(rows.truth.iter().map(|row| (row.id, 0)));
            predicted_ids.extend(rows.predicted.iter().map(|row| (row.id, 0)));
        }
        if truth_ids.is_empty() {
            return Err(SequenceError::NoTruth);
        }
        for ids in [&mut truth_ids, &mut predicted_ids] {
            ids.values_mut().zip(0..).for_each(|(number, next)| *number = next);
        }
        let frame = |Rows { truth, predicted }: Rows<'_>| Frame {
            overlaps: overlaps(&truth, &predicted),
            truth: truth.iter().map(|row| truth_ids[&row.id]).collect(),
            predicted: predicted.iter().map(|row| predicted_ids[&row.id]).collect(),
            // Some trackers write -1 for no score.
            scores: predicted
                .iter()
                .map(|row| row.confidence.filter(|score| *score >= 0.0))
                .collect(),
        };
        Ok(Self {
            frames: by_frame.into_values().map(frame).collect(),
            truth_ids: truth_ids.len(),
            predicted_ids: predicted_ids.len(),
        })
    }

    /// How many boxes of the truth are evaluated.
    pub fn truth_boxes(&self) -> usize {
        self.frames.iter().map(|frame| frame.truth.len()).sum()
    }

    /// How many predicted boxes are evaluated.
    pub fn predicted_boxes(&self) -> usize {
        self.frames.iter().map(|frame| frame.predicted.len()).sum()
    }

    /// In how many frames each object and each track is.
    pub(crate) fn lengths(&self) -> (Vec<f64>, Vec<f64>) {
        let mut truth = vec![0.0; self.truth_ids];
        let mut predicted = vec![0.0; self.predicted_ids];
        for frame in &self.frames {
            frame.truth.iter().for_each(|id| truth[*id] += 1.0);
            frame.predicted.iter().for_each(|id| predicted[*id] += 1.0);
        }
        (truth, predicted)
    }
}

fn overlaps(truth: &[&Row], predicted: &[&Row]) -> Vec<f64> {
    let row = |of: &&Row| {
        let of = of.bounds;
        predicted.iter().map(move |with| of.iou(&with.bounds))
    };
    truth.iter().flat_map(row).collect()
}

fn remove_on_distractors(Rows { truth, predicted }: &mut Rows<'_>) {
    let overlaps = overlaps(truth, predicted);
    let columns = predicted.len();
    let same = |row: usize, column: usize| {
        let overlap = overlaps[row * columns + column];
        if overlap < SAME - f64::EPSILON { 0.0 } else { overlap }
    };
    let mut keep = vec![true; columns];
    for (row, column) in Costs::new(truth.len(), columns, |r, c| -same(r, c)).assign() {
        keep[column] = !(same(row, column) > f64::EPSILON && truth[row].is_distractor());
    }
    let mut kept = keep.into_iter();
    predicted.retain(|_| kept.next().unwrap_or(true));
}

use moliceiro_messages::Size;
use serde::Deserialize;

use crate::candidate::Candidate;
use crate::families::decoder::{Decoder, UnexpectedOutput};
use crate::value::InvalidValue;

const SIDES: usize = 4;

/// NanoDet's output, [1, cells, classes + 4 · bins]: a row holds the classes' scores (0 to 1,
/// sigmoid applied), then for the left, top, right and bottom side of the box the distribution of
/// its distance from the cell's centre, as logits.
///
/// Cells are ordered by stride, then row by row. Cell (column, row) of a stride s has its centre at
/// ((column + ½) s, (row + ½) s). A distance is s · Σ k · softmax(logits)ₖ (Generalized Focal Loss,
/// arXiv 2006.04388).
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Nanodet {
    strides: Vec<u32>,
    /// Upstream's `reg_max` + 1.
    bins: usize,
}

impl Decoder for Nanodet {
    fn multiple_of(&self) -> Result<u32, InvalidValue> {
        let largest = self.strides.iter().copied().max().unwrap_or(0);
        let divides = |stride: &u32| *stride > 0 && largest.is_multiple_of(*stride);
        if largest == 0 || !self.strides.iter().all(divides) {
            let rule = "numbers above 0 that the largest of them is a multiple of";
            return Err(InvalidValue::new("family.nanodet.strides", rule));
        }
        if !(2..=256).contains(&self.bins) {
            let rule = format!("from 2 to 256, and is {}", self.bins);
            return Err(InvalidValue::new("family.nanodet.bins", rule));
        }
        Ok(largest)
    }

    fn rows(&self, size: Size) -> usize {
        self.strides
            .iter()
            .map(|stride| (size.width / stride) as usize * (size.height / stride) as usize)
            .sum()
    }

    fn extra_columns(&self) -> usize {
        SIDES * self.bins
    }

    fn decode(
        &self,
        output: &[f32],
        classes: usize,
        size: Size,
        threshold: f32,
        candidates: &mut Vec<Candidate>,
    ) {
        let mut rows = output.chunks_exact(classes + self.extra_columns());
        for &stride in &self.strides {
            let (across, down) = (size.width / stride, size.height / stride);
            let cells = (0..down).flat_map(|y| (0..across).map(move |x| (x, y)));
            for ((x, y), row) in cells.zip(&mut rows) {
                let (scores, logits) = row.split_at(classes);
                if !any_above(scores, threshold) {
                    continue;
                }
                let (class, score) = best(scores);
                let stride = stride as f32;
                let (x, y) = ((x as f32 + 0.5) * stride, (y as f32 + 0.5) * stride);
                let [left, top, right, bottom] =
                    distances(logits, self.bins).map(|distance| distance * stride);
                candidates.push(Candidate {
                    class,
                    score,
                    bounds: [x - left, y - top, x + right, y + bottom],
                });
            }
        }
    }

    fn check(&self, output: &[f32], classes: usize) -> Result<(), UnexpectedOutput> {
        for row in output.chunks_exact(classes + self.extra_columns()) {
            let (scores, logits) = row.split_at(classes);
            if let Some(score) = scores.iter().find(|score| !(0.0..=1.0).contains(*score)) {
                return Err(UnexpectedOutput::Score(*score));
            }
            if let Some(logit) = logits.iter().find(|logit| !logit.is_finite()) {
                return Err(UnexpectedOutput::NotFinite(*logit));
            }
        }
        Ok(())
    }
}

/// Almost every row of almost every frame is skipped here. Without a branch per score, this is a
/// few vector instructions.
fn any_above(scores: &[f32], threshold: f32) -> bool {
    scores.iter().fold(false, |any, score| any | (*score > threshold))
}

/// The class with the highest score, and that score. Of equal scores, the first wins.
fn best(scores: &[f32]) -> (usize, f32) {
    let best = |best: (usize, f32), (class, score): (usize, &f32)| {
        if *score > best.1 { (class, *score) } else { best }
    };
    scores.iter().enumerate().fold((0, f32::NEG_INFINITY), best)
}

/// The expected value of each side's distribution, in strides.
fn distances(logits: &[f32], bins: usize) -> [f32; SIDES] {
    let mut distances = [0.0; SIDES];
    for (distance, logits) in distances.iter_mut().zip(logits.chunks_exact(bins)) {
        // Subtracting the highest logit keeps exp from overflowing; the quotient is the same.
        let highest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let (mut sum, mut weighted) = (0.0, 0.0);
        for (k, logit) in logits.iter().enumerate() {
            let weight = (logit - highest).exp();
            sum += weight;
            weighted += weight * k as f32;
        }
        *distance = weighted / sum;
    }
    distances
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLASSES: usize = 3;
    const BINS: usize = 8;
    const SIZE: Size = Size { width: 64, height: 32 };

    fn nanodet() -> Nanodet {
        Nanodet { strides: vec![16, 32], bins: BINS }
    }

    /// An output in which only row `index` has scores; its box's sides are the given numbers of
    /// strides from the centre.
    fn output(index: usize, scores: [f32; CLASSES], sides: [usize; SIDES]) -> Vec<f32> {
        let columns = CLASSES + SIDES * BINS;
        let mut output = vec![0.0; nanodet().rows(SIZE) * columns];
        let row = &mut output[index * columns..][..columns];
        row[..CLASSES].copy_from_slice(&scores);
        for (side, distance) in sides.into_iter().enumerate() {
            row[CLASSES + side * BINS + distance] = 1000.0;
        }
        output
    }

    fn decode(output: &[f32]) -> Vec<Candidate> {
        let mut found = vec![];
        nanodet().decode(output, CLASSES, SIZE, 0.5, &mut found);
        found
    }

    #[test]
    fn cells_are_ordered_by_stride_and_row_by_row() {
        assert_eq!(nanodet().rows(SIZE), 4 * 2 + 2);
        let bounds = |index| decode(&output(index, [0.0, 0.9, 0.0], [1, 0, 2, 7]))[0].bounds;
        assert_eq!(bounds(0), [8.0 - 16.0, 8.0, 8.0 + 32.0, 8.0 + 112.0]);
        assert_eq!(bounds(5), [24.0 - 16.0, 24.0, 24.0 + 32.0, 24.0 + 112.0]);
        assert_eq!(bounds(9), [48.0 - 32.0, 16.0, 48.0 + 64.0, 16.0 + 224.0]);
    }

    #[test]
    fn the_class_is_the_highest_score_and_the_first_of_equal_ones() {
        let class = |scores| {
            decode(&output(3, scores, [0; 4])).first().map(|found| (found.class, found.score))
        };
        assert_eq!(class([0.6, 0.9, 0.7]), Some((1, 0.9)));
        assert_eq!(class([0.1, 0.8, 0.8]), Some((1, 0.8)));
        assert_eq!(class([0.5, 0.2, 0.3]), None, "the threshold itself is not above it");
        assert_eq!(class([f32::NAN, 0.2, 0.7]), Some((2, 0.7)));
    }

    #[test]
    fn a_distance_is_the_mean_of_its_distribution() {
        let even = vec![0.0; SIDES * BINS];
        assert_eq!(distances(&even, BINS), [3.5; SIDES]);
        let huge = vec![3.0e38; SIDES * BINS];
        assert_eq!(distances(&huge, BINS), [3.5; SIDES]);
    }

    #[test]
    fn an_output_that_this_family_cannot_produce_is_rejected() {
        let check = |output: &[f32]| nanodet().check(output, CLASSES);
        assert_eq!(check(&output(0, [0.0, 1.0, 0.5], [1; 4])), Ok(()));
        let error = check(&output(0, [0.0, -3.5, 0.0], [1; 4])).unwrap_err();
        assert_eq!(error, UnexpectedOutput::Score(-3.5));
        assert!(error.to_string().contains("sigmoid"), "{error}");
        assert!(check(&vec![f32::NAN; 10 * 35]).is_err());
        let mut infinite = output(0, [0.0; CLASSES], [1; 4]);
        infinite[CLASSES] = f32::INFINITY;
        assert_eq!(check(&infinite), Err(UnexpectedOutput::NotFinite(f32::INFINITY)));
    }
}

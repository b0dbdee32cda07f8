use moliceiro_messages::Size;

use super::{Context, Output, UnexpectedOutput, any_above, best, cell_count, check_score, grid};
use crate::candidate::Candidate;

const SIDES: usize = 4;

/// Cells with the classes' scores (0 to 1, sigmoid applied), and for the left, top, right and
/// bottom side of the box the distribution of its distance from the cell's point, as logits. In one
/// output, [1, cells, classes + 4 · bins]; or in two outputs for each stride.
///
/// Cells are ordered by stride, then row by row. Cell (column, row) of a stride s has its point at
/// ((column + offset) s, (row + offset) s). A distance is s · Σ k · softmax(logits)ₖ (Generalized
/// Focal Loss, arXiv 2006.04388).
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Cells {
    pub strides: Vec<u32>,
    /// Upstream's `reg_max` + 1.
    pub bins: usize,
    /// ½ for the middle of a cell, 0 for its upper left corner.
    pub offset: f32,
    /// The outputs are the scores of each stride, then the distances of each.
    pub split: bool,
}

/// The scores and logits of one stride.
struct Level<'a> {
    stride: u32,
    scores: &'a [f32],
    logits: &'a [f32],
    /// From one row to the next, of scores and of logits.
    steps: [usize; 2],
    classes: usize,
}

impl Cells {
    fn levels<'a>(
        &self,
        outputs: &'a [Output<'_>],
        size: Size,
    ) -> Result<Vec<Level<'a>>, UnexpectedOutput> {
        let sides = SIDES * self.bins;
        let mut levels = Vec::with_capacity(self.strides.len());
        if self.split {
            let (scores, logits) = outputs.split_at(outputs.len() / 2);
            for ((stride, scores), logits) in self.strides.iter().zip(scores).zip(logits) {
                let cells = cell_count(size, &[*stride]);
                let (rows, classes) = scores.matrix("[1, cells, classes]")?;
                if rows != cells || classes == 0 {
                    let expected = format!("[1, {cells}, classes] of stride {stride}");
                    return Err(UnexpectedOutput::shape(scores, expected));
                }
                if logits.matrix("[1, cells, 4 · bins]")? != (cells, sides) {
                    let expected = format!("[1, {cells}, {sides}] of stride {stride}");
                    return Err(UnexpectedOutput::shape(logits, expected));
                }
                let (scores, logits) = (&scores.values[..], &logits.values[..]);
                let steps = [classes, sides];
                levels.push(Level { stride: *stride, scores, logits, steps, classes });
            }
            return Ok(levels);
        }
        let [output] = outputs else { return Ok(levels) };
        let (rows, columns) = output.matrix("[1, cells, classes + 4 · bins]")?;
        let cells = cell_count(size, &self.strides);
        if rows != cells || columns <= sides {
            let expected = format!("[1, {cells}, classes + {sides}]");
            return Err(UnexpectedOutput::shape(output, expected));
        }
        let (classes, mut rest) = (columns - sides, &output.values[..]);
        for &stride in &self.strides {
            let (level, others) = rest.split_at(cell_count(size, &[stride]) * columns);
            rest = others;
            // Both slices begin at their own column.
            let logits = level.get(classes..).unwrap_or_default();
            let steps = [columns, columns];
            levels.push(Level { stride, scores: level, logits, steps, classes });
        }
        Ok(levels)
    }

    pub fn decode(
        &self,
        outputs: &[Output<'_>],
        context: Context,
        candidates: &mut Vec<Candidate>,
    ) -> Result<(), UnexpectedOutput> {
        let sides = SIDES * self.bins;
        for level in self.levels(outputs, context.size)? {
            let (across, _) = grid(context.size, level.stride);
            let stride = level.stride as f32;
            for (cell, scores) in level.scores.chunks_exact(level.steps[0]).enumerate() {
                let scores = &scores[..level.classes];
                if !any_above(scores, context.threshold) {
                    continue;
                }
                let (class, score) = best(scores);
                let logits = &level.logits[cell * level.steps[1]..][..sides];
                let point = |cell: usize| (cell as f32 + self.offset) * stride;
                let (x, y) = (point(cell % across as usize), point(cell / across as usize));
                let [left, top, right, bottom] =
                    distances(logits, self.bins).map(|distance| distance * stride);
                let bounds = [x - left, y - top, x + right, y + bottom];
                candidates.push(Candidate { class, score, bounds });
            }
        }
        Ok(())
    }

    pub fn check(&self, outputs: &[Output<'_>], size: Size) -> Result<usize, UnexpectedOutput> {
        let sides = SIDES * self.bins;
        let mut classes = 0;
        for level in self.levels(outputs, size)? {
            classes = level.classes;
            for (cell, scores) in level.scores.chunks_exact(level.steps[0]).enumerate() {
                scores[..classes].iter().copied().try_for_each(check_score)?;
                let logits = &level.logits[cell * level.steps[1]..][..sides];
                if let Some(logit) = logits.iter().find(|logit| !logit.is_finite()) {
                    return Err(UnexpectedOutput::NotFinite(*logit));
                }
            }
        }
        Ok(classes)
    }
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

    fn nanodet() -> Cells {
        Cells { strides: vec![16, 32], bins: BINS, offset: 0.5, split: false }
    }

    /// An output in which only row `index` has scores; its box's sides are the given numbers of
    /// strides from the centre.
    fn output(index: usize, scores: [f32; CLASSES], sides: [usize; SIDES]) -> Vec<f32> {
        let columns = CLASSES + SIDES * BINS;
        let mut output = vec![0.0; 10 * columns];
        let row = &mut output[index * columns..][..columns];
        row[..CLASSES].copy_from_slice(&scores);
        for (side, distance) in sides.into_iter().enumerate() {
            row[CLASSES + side * BINS + distance] = 1000.0;
        }
        output
    }

    fn one(values: Vec<f32>) -> [Output<'static>; 1] {
        [Output { shape: vec![1, 10, CLASSES + SIDES * BINS], values: values.into() }]
    }

    fn decode(cells: &Cells, outputs: &[Output<'_>]) -> Vec<Candidate> {
        let mut found = vec![];
        cells.decode(outputs, Context { size: SIZE, threshold: 0.5 }, &mut found).unwrap();
        found
    }

    #[test]
    fn cells_are_ordered_by_stride_and_row_by_row() {
        let bounds = |index| {
            decode(&nanodet(), &one(output(index, [0.0, 0.9, 0.0], [1, 0, 2, 7])))[0].bounds
        };
        assert_eq!(bounds(0), [8.0 - 16.0, 8.0, 8.0 + 32.0, 8.0 + 112.0]);
        assert_eq!(bounds(5), [24.0 - 16.0, 24.0, 24.0 + 32.0, 24.0 + 112.0]);
        assert_eq!(bounds(9), [48.0 - 32.0, 16.0, 48.0 + 64.0, 16.0 + 224.0]);
    }

    #[test]
    fn outputs_may_be_split_by_stride_and_points_may_be_corners() {
        let columns = CLASSES + SIDES * BINS;
        let whole = output(9, [0.0, 0.9, 0.0], [1, 0, 2, 7]);
        let part = |rows: std::ops::Range<usize>, columns_of: std::ops::Range<usize>| {
            let rows = whole.chunks_exact(columns).skip(rows.start).take(rows.len());
            let values: Vec<f32> = rows.flat_map(|row| row[columns_of.clone()].to_vec()).collect();
            let shape = vec![1, values.len() / columns_of.len(), columns_of.len()];
            Output { shape, values: values.into() }
        };
        let outputs = [
            part(0..8, 0..CLASSES),
            part(8..10, 0..CLASSES),
            part(0..8, CLASSES..columns),
            part(8..10, CLASSES..columns),
        ];
        let split = Cells { split: true, offset: 0.0, ..nanodet() };
        assert_eq!(split.check(&outputs, SIZE), Ok(CLASSES));
        assert_eq!(decode(&split, &outputs)[0].bounds, [32.0 - 32.0, 0.0, 32.0 + 64.0, 224.0]);
    }

    #[test]
    fn the_class_is_the_highest_score_and_the_first_of_equal_ones() {
        let class = |scores| {
            decode(&nanodet(), &one(output(3, scores, [0; 4])))
                .first()
                .map(|found| (found.class, found.score))
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
        let check = |output: Vec<f32>| nanodet().check(&one(output), SIZE);
        assert_eq!(check(output(0, [0.0, 1.0, 0.5], [1; 4])), Ok(CLASSES));
        let error = check(output(0, [0.0, -3.5, 0.0], [1; 4])).unwrap_err();
        assert_eq!(error, UnexpectedOutput::Score(-3.5));
        assert!(error.to_string().contains("sigmoid"), "{error}");
        assert!(check(vec![f32::NAN; 10 * 35]).is_err());
        let mut infinite = output(0, [0.0; CLASSES], [1; 4]);
        infinite[CLASSES] = f32::INFINITY;
        assert_eq!(check(infinite), Err(UnexpectedOutput::NotFinite(f32::INFINITY)));
        let other = Size { width: 64, height: 64 };
        let error = nanodet().check(&one(output(0, [0.0; 3], [1; 4])), other).unwrap_err();
        assert!(error.to_string().contains("[1, 20, classes + 32]"), "{error}");
    }
}

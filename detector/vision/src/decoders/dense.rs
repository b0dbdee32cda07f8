use moliceiro_messages::Size;

use super::{
    Context, Output, UnexpectedOutput, any_above, best, cell_count, cells, check_score, four,
    from_center,
};
use crate::candidate::Candidate;

/// The share of rows that must lie near their cell. A row's box may have its centre elsewhere.
const NEAR: f32 = 0.8;
/// How far from its cell a box may have its centre, in strides.
const FAR: f32 = 6.0;
/// Candidates are few: this many scores in a plane are compared at a time.
const LANES: usize = 64;

/// A row for each box: centre, width, height, perhaps objectness, and the scores of the classes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Dense {
    /// The fifth column is that of the objectness, by which the classes' scores are multiplied.
    pub objectness: bool,
    /// The output has a column for each box, [1, 4 + classes, boxes].
    pub transposed: bool,
    pub grid: Grid,
}

/// What the numbers of a box are relative to.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Grid {
    /// Pixels.
    None,
    /// Shares of the picture.
    Shares,
    /// Pixels, with one row for each cell of these strides.
    Decoded(Vec<u32>),
    /// The same, and the objectness is always 1.
    DecodedWithoutObjectness(Vec<u32>),
    /// The cell: (xy + cell) · stride, exp(wh) · stride.
    Raw(Vec<u32>),
}

impl Grid {
    fn strides(&self) -> Option<&[u32]> {
        match self {
            Self::None | Self::Shares => None,
            Self::Decoded(strides)
            | Self::DecodedWithoutObjectness(strides)
            | Self::Raw(strides) => Some(strides),
        }
    }
}

impl Dense {
    fn box_columns(&self) -> usize {
        4 + usize::from(self.objectness)
    }

    /// Boxes and classes.
    fn lengths(&self, output: &Output<'_>, size: Size) -> Result<(usize, usize), UnexpectedOutput> {
        let (rows, columns) = output.matrix("[1, boxes, 4 + classes]")?;
        let (boxes, columns) = if self.transposed { (columns, rows) } else { (rows, columns) };
        let cells = self.grid.strides().map(|strides| cell_count(size, strides));
        if columns <= self.box_columns() || cells.is_some_and(|cells| cells != boxes) {
            let boxes = cells.map_or("boxes".to_owned(), |cells| cells.to_string());
            let columns = format!("{} + classes", self.box_columns());
            let expected = if self.transposed {
                format!("[1, {columns}, {boxes}]")
            } else {
                format!("[1, {boxes}, {columns}]")
            };
            return Err(UnexpectedOutput::shape(output, expected));
        }
        Ok((boxes, columns - self.box_columns()))
    }

    pub fn decode(
        &self,
        outputs: &[Output<'_>],
        context: Context,
        candidates: &mut Vec<Candidate>,
    ) -> Result<(), UnexpectedOutput> {
        let [output] = outputs else { return Ok(()) };
        let (boxes, classes) = self.lengths(output, context.size)?;
        if self.transposed {
            columns(&output.values, boxes, classes, context.threshold, candidates);
            return Ok(());
        }
        let first = candidates.len();
        let columns = self.box_columns() + classes;
        // The cell of a candidate is found from its row, which `class` cannot hold.
        let mut rows = Vec::new();
        for (index, row) in output.values.chunks_exact(columns).enumerate() {
            let (bounds, scores) = row.split_at(self.box_columns());
            let objectness = if self.objectness { bounds[4] } else { 1.0 };
            // A score is at most the objectness.
            if objectness <= context.threshold || !any_above(scores, context.threshold) {
                continue;
            }
            let (class, score) = best(scores);
            let score = score * objectness;
            if score > context.threshold {
                candidates.push(Candidate { class, score, bounds: four(bounds) });
                rows.push(index);
            }
        }
        let found = &mut candidates[first..];
        if let Grid::Raw(strides) = &self.grid {
            let mut all = cells(context.size, strides).enumerate();
            for (candidate, row) in found.iter_mut().zip(rows) {
                if let Some((_, cell)) = all.find(|(index, _)| *index == row) {
                    candidate.bounds = from_cell(candidate.bounds, cell);
                }
            }
        }
        let (width, height) = match self.grid {
            Grid::Shares => (context.size.width as f32, context.size.height as f32),
            _ => (1.0, 1.0),
        };
        for candidate in found {
            let [left, top, right, bottom] = from_center(candidate.bounds);
            candidate.bounds = [left * width, top * height, right * width, bottom * height];
        }
        Ok(())
    }

    pub fn check(&self, outputs: &[Output<'_>], size: Size) -> Result<usize, UnexpectedOutput> {
        let [output] = outputs else { return Ok(0) };
        let (boxes, classes) = self.lengths(output, size)?;
        let columns = self.box_columns() + classes;
        let at = |row: usize, column: usize| {
            output.values
                [if self.transposed { column * boxes + row } else { row * columns + column }]
        };
        for row in 0..boxes {
            for column in 4..columns {
                check_score(at(row, column))?;
            }
            if let Some(side) = (0..4).map(|side| at(row, side)).find(|side| !side.is_finite()) {
                return Err(UnexpectedOutput::NotFinite(side));
            }
        }
        let Some(strides) = self.grid.strides() else { return Ok(classes) };
        if boxes == 0 {
            return Ok(classes);
        }
        let is_near = |(row, (x, y, stride)): &(usize, (f32, f32, f32))| {
            let (box_x, box_y) = (at(*row, 0), at(*row, 1));
            let (dx, dy) = match self.grid {
                Grid::Raw(_) => (box_x, box_y),
                _ => (box_x / stride - x, box_y / stride - y),
            };
            dx.abs() <= FAR && dy.abs() <= FAR
        };
        let near = cells(size, strides).enumerate().filter(is_near).count();
        let always = (0..boxes).all(|row| at(row, 4) == 1.0);
        let fits = match self.grid {
            Grid::DecodedWithoutObjectness(_) => always,
            _ => !always,
        };
        if (near as f32) < NEAR * boxes as f32 || !fits {
            return Err(UnexpectedOutput::Grid);
        }
        Ok(classes)
    }
}

fn from_cell([x, y, width, height]: [f32; 4], cell: (f32, f32, f32)) -> [f32; 4] {
    let (column, row, stride) = cell;
    [(x + column) * stride, (y + row) * stride, width.exp() * stride, height.exp() * stride]
}

/// Reads [4 + classes, boxes]: the scores of one class are next to each other, so some boxes are
/// compared at a time, class by class.
fn columns(
    values: &[f32],
    boxes: usize,
    classes: usize,
    threshold: f32,
    candidates: &mut Vec<Candidate>,
) {
    let (sides, scores) = values.split_at(4 * boxes);
    for start in (0..boxes).step_by(LANES) {
        let lanes = LANES.min(boxes - start);
        let mut highest = [f32::NEG_INFINITY; LANES];
        for class in 0..classes {
            let scores = &scores[class * boxes + start..][..lanes];
            for (highest, score) in highest.iter_mut().zip(scores) {
                *highest = if *score > *highest { *score } else { *highest };
            }
        }
        for lane in (0..lanes).filter(|lane| highest[*lane] > threshold) {
            let index = start + lane;
            let score = highest[lane];
            let is_best = |class: &usize| scores[class * boxes + index] == score;
            let class = (0..classes).find(is_best).unwrap_or(0);
            let bounds = from_center([0, 1, 2, 3].map(|side| sides[side * boxes + index]));
            candidates.push(Candidate { class, score, bounds });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: Size = Size { width: 64, height: 32 };

    fn decode(dense: &Dense, shape: [usize; 3], values: Vec<f32>) -> Vec<Candidate> {
        let output = [Output { shape: shape.to_vec(), values: values.into() }];
        let mut found = vec![];
        dense.decode(&output, Context { size: SIZE, threshold: 0.4 }, &mut found).unwrap();
        found
    }

    #[test]
    fn a_score_is_the_class_times_the_objectness() {
        let dense = Dense { objectness: true, transposed: false, grid: Grid::None };
        let rows = [
            [10.0, 10.0, 4.0, 2.0, 0.9, 0.1, 0.5],
            [10.0, 10.0, 4.0, 2.0, 0.5, 0.1, 0.7],
            [10.0, 10.0, 4.0, 2.0, 0.3, 0.9, 0.9],
        ];
        let found = decode(&dense, [1, 3, 7], rows.concat());
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].class, found[0].bounds), (1, [8.0, 9.0, 12.0, 11.0]));
        assert!((found[0].score - 0.45).abs() < 1e-6);
    }

    #[test]
    fn boxes_may_be_columns() {
        let dense = Dense { objectness: false, transposed: true, grid: Grid::None };
        let boxes = 70;
        let mut values = vec![0.0; 6 * boxes];
        for (row, value) in [30.0, 20.0, 10.0, 6.0, 0.6, 0.8].into_iter().enumerate() {
            values[row * boxes + 66] = value;
        }
        let found = decode(&dense, [1, 6, boxes], values);
        assert_eq!(found, [Candidate { class: 1, score: 0.8, bounds: [25.0, 17.0, 35.0, 23.0] }]);
    }

    #[test]
    fn raw_boxes_are_relative_to_their_cell() {
        let dense = Dense { objectness: true, transposed: false, grid: Grid::Raw(vec![16, 32]) };
        let mut values = vec![0.0; 10 * 6];
        values[5 * 6..6 * 6].copy_from_slice(&[0.5, 0.25, 0.0, 2f32.ln(), 1.0, 1.0]);
        values[9 * 6..].copy_from_slice(&[0.5, 0.5, 0.0, 0.0, 1.0, 0.5]);
        let found = decode(&dense, [1, 10, 6], values.clone());
        assert_eq!(found[0].bounds, [16.0, 4.0, 32.0, 36.0]);
        assert_eq!(found[1].bounds, [32.0, 0.0, 64.0, 32.0]);
        let output = [Output { shape: vec![1, 10, 6], values: values.into() }];
        assert_eq!(dense.check(&output, SIZE), Ok(1));
        let decoded = Dense { grid: Grid::DecodedWithoutObjectness(vec![16, 32]), ..dense };
        assert_eq!(decoded.check(&output, SIZE), Err(UnexpectedOutput::Grid));
    }
}

//! What the numbers in a model's outputs mean. Each decoder reads one arrangement, which several
//! families share.

mod cells;
mod dense;
mod lists;
mod queries;
mod rows;

use moliceiro_messages::Size;
use thiserror::Error;

use crate::candidate::Candidate;
pub(crate) use cells::Cells;
pub(crate) use dense::{Dense, Grid};
pub(crate) use lists::{BoxFormat, Lists};
pub(crate) use queries::{Activation, Queries};
pub(crate) use rows::{RowLayout, Rows};

/// One output of the model for one picture.
#[derive(Debug)]
pub(crate) struct Output<'a> {
    pub shape: Vec<usize>,
    pub values: std::borrow::Cow<'a, [f32]>,
}

/// What a decoder needs besides the outputs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Context {
    /// The picture's, in which boxes are returned.
    pub size: Size,
    pub threshold: f32,
}

/// How outputs are read.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Decoder {
    Cells(Cells),
    Dense(Dense),
    Queries(Queries),
    Rows(Rows),
    Lists(Lists),
}

impl Decoder {
    /// Appends the candidates that score above the threshold, with boxes in the picture's pixels,
    /// in the outputs' order.
    pub fn decode(
        &self,
        outputs: &[Output<'_>],
        context: Context,
        candidates: &mut Vec<Candidate>,
    ) -> Result<(), UnexpectedOutput> {
        match self {
            Self::Cells(cells) => cells.decode(outputs, context, candidates),
            Self::Dense(dense) => dense.decode(outputs, context, candidates),
            Self::Queries(queries) => queries.decode(outputs, context, candidates),
            Self::Rows(rows) => rows.decode(outputs, context, candidates),
            Self::Lists(lists) => lists.decode(outputs, context, candidates),
        }
    }

    /// Fails if outputs of this arrangement cannot hold such numbers. Returns the number of
    /// classes if the shapes tell it.
    pub fn check(
        &self,
        outputs: &[Output<'_>],
        size: Size,
    ) -> Result<Option<usize>, UnexpectedOutput> {
        match self {
            Self::Cells(cells) => cells.check(outputs, size).map(Some),
            Self::Dense(dense) => dense.check(outputs, size).map(Some),
            Self::Queries(queries) => queries.check(outputs).map(Some),
            Self::Rows(rows) => rows.check(outputs).map(|()| None),
            Self::Lists(lists) => lists.check(outputs).map(|()| None),
        }
    }
}

/// Numbers in a model's output that its family cannot produce.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum UnexpectedOutput {
    /// A class has a score that is not from 0 to 1.
    #[error("a class has the score {0}, and scores are from 0 to 1: is the sigmoid in the graph?")]
    Score(f32),
    /// A box has a value that is infinite or NaN.
    #[error("a box has the value {0}")]
    NotFinite(f32),
    /// Outputs are NaN.
    #[error("the output is NaN: a model in float16 may overflow; export it in float32")]
    NotANumber,
    /// An output has another shape.
    #[error("an output has the shape {actual:?}, not {expected}")]
    Shape {
        /// The output's.
        actual: Vec<usize>,
        /// What the family has.
        expected: String,
    },
    /// Boxes do not lie where the cells of a grid are.
    #[error("boxes do not lie near the cells of the grid")]
    Grid,
    /// A class is not a whole number.
    #[error("a class has the number {0}")]
    Class(f32),
}

impl UnexpectedOutput {
    fn shape(output: &Output<'_>, expected: impl Into<String>) -> Self {
        Self::Shape { actual: output.shape.clone(), expected: expected.into() }
    }
}

impl Output<'_> {
    /// Rows and columns: all dimensions but these must be 1.
    fn matrix(&self, expected: &str) -> Result<(usize, usize), UnexpectedOutput> {
        let mut lengths = self.shape.iter().rev();
        let columns = lengths.next().copied();
        let rows = lengths.next().copied();
        match (rows, columns) {
            (Some(rows), Some(columns)) if lengths.all(|length| *length == 1) => {
                Ok((rows, columns))
            }
            _ => Err(UnexpectedOutput::shape(self, expected)),
        }
    }

    /// The values, if all dimensions but the last are 1.
    fn list(&self, expected: &str) -> Result<&[f32], UnexpectedOutput> {
        let mut lengths = self.shape.iter().rev().skip(1);
        // A squeezed list of one entry may have lost its last dimension.
        if lengths.all(|length| *length == 1) {
            Ok(&self.values)
        } else {
            Err(UnexpectedOutput::shape(self, expected))
        }
    }

    /// Fails if all of some values that are spread evenly are NaN.
    pub fn check_numbers(&self) -> Result<(), UnexpectedOutput> {
        let step = (self.values.len() / 64).max(1);
        let mut sampled = self.values.iter().step_by(step).peekable();
        if sampled.peek().is_some() && sampled.all(|value| value.is_nan()) {
            return Err(UnexpectedOutput::NotANumber);
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

fn from_center([x, y, width, height]: [f32; 4]) -> [f32; 4] {
    let (half_width, half_height) = (width / 2.0, height / 2.0);
    [x - half_width, y - half_height, x + half_width, y + half_height]
}

fn four(values: &[f32]) -> [f32; 4] {
    [values[0], values[1], values[2], values[3]]
}

/// A class as a number of an output.
fn class_id(value: f32) -> Option<usize> {
    #[expect(clippy::cast_possible_truncation, reason = "it is in range")]
    #[expect(clippy::cast_sign_loss, reason = "it is in range")]
    (0.0..65_536.0).contains(&value).then_some(value.round() as usize)
}

fn check_score(score: f32) -> Result<(), UnexpectedOutput> {
    // Sums of float16 may exceed 1 a little.
    if (-1e-3..=1.001).contains(&score) { Ok(()) } else { Err(UnexpectedOutput::Score(score)) }
}

/// Checks an object of a graph that does the suppression itself.
fn check_object(bounds: &[f32], score: f32, class: f32) -> Result<(), UnexpectedOutput> {
    check_score(score)?;
    if class.fract() != 0.0 || class < -1.0 {
        return Err(UnexpectedOutput::Class(class));
    }
    match bounds.iter().find(|side| !side.is_finite()) {
        Some(side) => Err(UnexpectedOutput::NotFinite(*side)),
        None => Ok(()),
    }
}

/// The lengths of a grid for this stride. Models pad what is left over.
fn grid(size: Size, stride: u32) -> (u32, u32) {
    (size.width.div_ceil(stride.max(1)), size.height.div_ceil(stride.max(1)))
}

/// The cells of all strides: row by row, stride by stride.
pub(crate) fn cell_count(size: Size, strides: &[u32]) -> usize {
    let count = |stride: &u32| {
        let (across, down) = grid(size, *stride);
        across as usize * down as usize
    };
    strides.iter().map(count).sum()
}

fn cells(size: Size, strides: &[u32]) -> impl Iterator<Item = (f32, f32, f32)> {
    strides.iter().flat_map(move |&stride| {
        let (across, down) = grid(size, stride);
        (0..down).flat_map(move |y| (0..across).map(move |x| (x as f32, y as f32, stride as f32)))
    })
}

use moliceiro_messages::Size;
use thiserror::Error;

use crate::candidate::Candidate;
use crate::value::InvalidValue;

/// How a family's output is read.
///
/// The output is a matrix of [`rows`](Self::rows) × (classes +
/// [`extra_columns`](Self::extra_columns)), row by row. Callers check that before
/// [`check`](Self::check) and [`decode`](Self::decode).
pub(crate) trait Decoder {
    /// Checks the family's parameters, and returns the number that both sides of a picture must be
    /// multiples of.
    fn multiple_of(&self) -> Result<u32, InvalidValue>;

    /// How many rows the output has for a picture of this size.
    fn rows(&self, size: Size) -> usize;

    /// How many numbers a row has besides the classes' scores.
    fn extra_columns(&self) -> usize;

    /// Appends the candidates that score above the threshold, with boxes in the picture's pixels,
    /// in the output's order.
    fn decode(
        &self,
        output: &[f32],
        classes: usize,
        size: Size,
        threshold: f32,
        candidates: &mut Vec<Candidate>,
    );

    /// Fails if this family's output cannot hold such numbers.
    fn check(&self, output: &[f32], classes: usize) -> Result<(), UnexpectedOutput>;
}

/// Numbers in a model's output that its family cannot produce.
#[derive(Clone, Copy, Debug, PartialEq, Error)]
pub enum UnexpectedOutput {
    /// A class has a score that is not from 0 to 1.
    #[error("a class has the score {0}, and scores are from 0 to 1: is the sigmoid in the graph?")]
    Score(f32),
    /// A box has a value that is infinite or NaN.
    #[error("a box has the value {0}")]
    NotFinite(f32),
}

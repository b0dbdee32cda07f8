//! Output families: what the numbers that a model puts out mean. One module decodes one family.

mod nanodet;

use moliceiro_messages::Size;
use serde::Deserialize;

use crate::nms::Candidate;

/// A family and its parameters, as manifests name them.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Family {
    /// NanoDet and NanoDet-Plus, as their own ONNX export puts them out.
    Nanodet(nanodet::Nanodet),
}

/// What a family does.
pub(crate) trait Decoder {
    /// The number that the picture's sides must be multiples of, or what is wrong with the
    /// parameters.
    fn multiple_of(&self) -> Result<u32, String>;

    /// How many rows the output has for a picture of this size.
    fn rows(&self, size: Size) -> usize;

    /// How many numbers a row has besides the classes' scores.
    fn extra_columns(&self) -> usize;

    /// Appends what scores above the threshold, boxes in the picture's pixels, in the output's
    /// order. `output` is rows × (classes + extra columns), row by row.
    fn decode(
        &self,
        output: &[f32],
        classes: usize,
        size: Size,
        threshold: f32,
        found: &mut Vec<Candidate>,
    );

    /// Fails unless the numbers can be what this family puts out.
    fn check(&self, output: &[f32], classes: usize) -> Result<(), String>;
}

impl Family {
    pub fn decoder(&self) -> &dyn Decoder {
        match self {
            Self::Nanodet(nanodet) => nanodet,
        }
    }
}

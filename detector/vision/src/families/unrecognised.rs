use thiserror::Error;

use super::evidence::declaration;
use super::name::FamilyName;
use crate::onnx_file::{Declared, OnnxFile};
use crate::value::InvalidValue;

/// Why it is unknown how a model is fed or what its output means.
#[derive(Debug, Error)]
pub enum Unrecognised {
    /// It does something else than to find objects.
    #[error(
        "it is a {kind} model ({reason}), and only models that find objects in boxes are supported"
    )]
    Kind {
        /// Such as `segmentation`.
        kind: &'static str,
        /// What shows it.
        reason: String,
    },
    /// No input takes a picture.
    #[error(
        "it has no input for a picture, of 3 colours in float32, float16 or uint8: its inputs are \
         {inputs}"
    )]
    NoPicture {
        /// Those that the model has.
        inputs: String,
    },
    /// An input besides the picture that no family has.
    #[error("nothing is known to fill its input {0}")]
    UnknownInput(String),
    /// The model lacks the input or output that the manifest names.
    #[error("it has no {which} {name:?}, but {present}")]
    Missing {
        /// Input or output.
        which: &'static str,
        /// The manifest's.
        name: String,
        /// Those that the model has.
        present: String,
    },
    /// The manifest has another size than the graph.
    #[error("its input {name:?} has the shape {actual}, not {expected:?}")]
    Size {
        /// The input's name.
        name: String,
        /// The model's: ? is any length.
        actual: String,
        /// The manifest's.
        expected: Vec<i64>,
    },
    /// The manifest allows several sizes, and the model takes one.
    #[error("its input {name:?} has the shape {actual} only: remove input.multiple_of")]
    OneSizeOnly {
        /// The input's name.
        name: String,
        /// The model's.
        actual: String,
    },
    /// The outputs are those of no family.
    #[error(
        "it is of no known family: it has the inputs {inputs} and the outputs {outputs}. If it is \
         of a family, write family = \"…\" in its manifest: one of {families}"
    )]
    Unknown {
        /// Names, types and shapes.
        inputs: String,
        /// Names, types and shapes.
        outputs: String,
        /// All names of families.
        families: String,
    },
    /// The outputs are not those of the manifest's family.
    #[error(
        "it is not of the family {family}: it has the inputs {inputs} and the outputs {outputs}"
    )]
    OtherFamily {
        /// The manifest's.
        family: FamilyName,
        /// Names, types and shapes.
        inputs: String,
        /// Names, types and shapes.
        outputs: String,
    },
    /// Several readings are possible.
    #[error("it can be read in several ways: {}", ways(.0))]
    Ambiguous(
        /// What each reading is, and what a manifest has to say to choose it.
        Vec<(String, String)>,
    ),
    /// A value of the manifest is out of bounds.
    #[error(transparent)]
    Value(InvalidValue),
}

fn ways(readings: &[(String, String)]) -> String {
    let way =
        |(reading, says): &(String, String)| format!("as {reading} (write {says} in its manifest)");
    readings.iter().map(way).collect::<Vec<_>>().join(", or ")
}

impl Unrecognised {
    pub(crate) fn unknown(file: &OnnxFile, chosen: Option<FamilyName>) -> Self {
        let (inputs, outputs) = (list(&file.inputs), list(&file.outputs));
        match chosen {
            Some(family) => Self::OtherFamily { family, inputs, outputs },
            None => Self::Unknown { inputs, outputs, families: FamilyName::all() },
        }
    }
}

/// Names, types and shapes.
pub(super) fn list(declared: &[Declared]) -> String {
    const MOST: usize = 12;
    let mut all: Vec<String> = declared.iter().take(MOST).map(declaration).collect();
    if declared.len() > MOST {
        all.push(format!("{} more", declared.len() - MOST));
    }
    all.join(", ")
}

use std::path::PathBuf;

use thiserror::Error;

use crate::families::UnexpectedOutput;
use crate::frame_error::InferenceError;
use crate::manifest::ManifestError;
use crate::value::InvalidValue;

/// Why a model cannot be used. `model` is its file, or the name of the built-in one.
#[derive(Debug, Error)]
pub enum ModelError {
    /// The path has neither ending of a model, or is a folder.
    #[error("{} is neither an .onnx file nor the .toml manifest of one", .0.display())]
    NotAModel(PathBuf),
    /// The ONNX file does not exist.
    #[error("the model file {} does not exist", .0.display())]
    Missing(PathBuf),
    /// The manifest does not exist.
    #[error(
        "{} has no manifest: write {}, to describe the model's input and output",
        .model.display(), .manifest.display()
    )]
    NoManifest {
        /// The ONNX file.
        model: PathBuf,
        /// The manifest that is missing.
        manifest: PathBuf,
    },
    /// A file exists but cannot be read.
    #[error("cannot read {}: {source}", .path.display())]
    Unreadable {
        /// The ONNX file or the manifest.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// The manifest is invalid in itself.
    #[error("{}: {source}", .path.display())]
    Manifest {
        /// The manifest's file.
        path: PathBuf,
        /// Which line or key, and what is wrong with it.
        source: ManifestError,
    },
    /// ONNX Runtime cannot load the file.
    #[error("ONNX Runtime cannot load the model {model}: {reason}")]
    NotOnnx {
        /// The model.
        model: String,
        /// The runtime's message.
        reason: String,
    },
    /// The model is not the one that its manifest describes.
    #[error("{model} does not fit its manifest: {reason}")]
    Mismatch {
        /// The model.
        model: String,
        /// What differs.
        reason: Mismatch,
    },
    /// The manifest has another number of labels than the output has classes.
    #[error(
        "{model} does not fit its manifest: its output has {classes} classes, and there are \
         {labels} labels"
    )]
    Labels {
        /// The model.
        model: String,
        /// How many classes its output has.
        classes: usize,
        /// How many labels the manifest names.
        labels: usize,
    },
    /// An option that replaces the manifest's value is out of bounds.
    #[error(transparent)]
    Option(#[from] InvalidValue),
    /// ONNX Runtime cannot create a session; this is its message.
    #[error("ONNX Runtime rejects the settings of the session: {0}")]
    Session(String),
}

/// How a model differs from its manifest. `which` is `input` or `output`.
#[derive(Debug, Error)]
pub enum Mismatch {
    /// The model has several inputs.
    #[error("it has the inputs {0}, and only one input is supported")]
    SeveralInputs(String),
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
    /// The input or output is not a tensor of float32, or has another number of dimensions.
    #[error("its {which} {name:?} is {actual}, not a float32 tensor of {dimensions} dimensions")]
    Type {
        /// Input or output.
        which: &'static str,
        /// Its name.
        name: String,
        /// Its type, as ONNX Runtime prints it.
        actual: String,
        /// How many it must have.
        dimensions: usize,
    },
    /// A dimension of the input or output is another one.
    #[error("its {which} {name:?} has the shape {actual:?}, not {expected:?}")]
    Shape {
        /// Input or output.
        which: &'static str,
        /// Its name.
        name: String,
        /// The model's: -1 is any length.
        actual: Vec<i64>,
        /// The manifest's.
        expected: Vec<i64>,
    },
    /// The manifest allows several sizes, and the model takes one.
    #[error("its input {name:?} has the shape {actual:?} only: remove input.multiple_of")]
    OneSizeOnly {
        /// The input's name.
        name: String,
        /// The model's.
        actual: Vec<i64>,
    },
    /// The model cannot be run on a blank picture.
    #[error("with a blank picture, {0}")]
    BlankPicture(#[from] InferenceError),
    /// The output for a blank picture is not of the manifest's family.
    #[error("in its output for a blank picture, {0}")]
    Output(#[from] UnexpectedOutput),
}

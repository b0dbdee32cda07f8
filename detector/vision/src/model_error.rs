use std::path::PathBuf;

use thiserror::Error;

use crate::decoders::UnexpectedOutput;
use crate::families::Unrecognised;
use crate::frame_error::InferenceError;
use crate::manifest::ManifestError;
use crate::value::InvalidValue;
use crate::wire::Malformed;

/// Why a model cannot be used. `model` is its file, or the name of the built-in one.
#[derive(Debug, Error)]
pub enum ModelError {
    /// The path has neither ending of a model, or is a folder.
    #[error("{} is neither an .onnx file nor the .toml manifest of one", .0.display())]
    NotAModel(PathBuf),
    /// The ONNX file does not exist.
    #[error("the model file {} does not exist", .0.display())]
    Missing(PathBuf),
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
    /// The file is not ONNX.
    #[error("cannot load the model {model}: {source}")]
    NotOnnx {
        /// The model.
        model: String,
        /// What is wrong with it.
        source: Malformed,
    },
    /// The weights are in another file, which is missing.
    #[error(
        "cannot load the model {model}: its weights are in {file:?}, which is not beside it; put \
         that file there, or store the model with its weights in one file"
    )]
    ExternalData {
        /// The model.
        model: String,
        /// The file, as the model names it.
        file: String,
    },
    /// Weights are in other files, and only one file can be stored.
    #[error(
        "cannot add the model {model}: some of its weights are in {file:?}; store it with its \
         weights in one file, in Python: onnx.save(onnx.load(\"{model}\"), \"one-file.onnx\")"
    )]
    SeveralFiles {
        /// The model.
        model: String,
        /// The other file, as the model names it.
        file: String,
    },
    /// ONNX Runtime cannot load the file.
    #[error("ONNX Runtime cannot load the model {model}: {reason}")]
    Rejected {
        /// The model.
        model: String,
        /// The runtime's message.
        reason: String,
    },
    /// It is unknown how the model is fed, or what its output means.
    #[error("cannot use the model {model}: {source}")]
    Unrecognised {
        /// The model.
        model: String,
        /// What was found, and what a manifest would have to say.
        source: Box<Unrecognised>,
    },
    /// The model's output is not the one that its file and manifest describe.
    #[error("cannot use the model {model}: {reason}")]
    Mismatch {
        /// The model.
        model: String,
        /// What differs.
        reason: Mismatch,
    },
    /// There is another number of labels than the output has classes.
    #[error(
        "cannot use the model {model}: its output has {classes} classes, and there are {labels} \
         labels"
    )]
    Labels {
        /// The model.
        model: String,
        /// How many classes its output has.
        classes: usize,
        /// How many labels the file or the manifest names.
        labels: usize,
    },
    /// An option that replaces the manifest's value is out of bounds.
    #[error(transparent)]
    Option(#[from] InvalidValue),
    /// ONNX Runtime cannot create a session; this is its message.
    #[error("ONNX Runtime rejects the settings of the session: {0}")]
    Session(String),
}

/// How a model's output differs from what its file and manifest describe.
#[derive(Debug, Error)]
pub enum Mismatch {
    /// The model cannot be run on a blank picture.
    #[error("with a blank picture, {0}")]
    BlankPicture(#[from] InferenceError),
    /// The output for a blank picture is not of the model's family.
    #[error("in its output for a blank picture, {0}")]
    Output(#[from] UnexpectedOutput),
}

//! Finds the objects in pictures with an ONNX model. It knows neither NATS nor an async runtime.
//!
//! The path of a picture, in [`Detector::detect`]:
//!
//! 1. `picture`: the picture as it arrives, a JPEG or I420, with its letterbox.
//! 2. `pixels`: decodes it, converts the colours and normalises them into the model's input tensor.
//! 3. `session`: runs the model in ONNX Runtime.
//! 4. `decoders`: read the model's outputs as candidates.
//! 5. `nms`: suppresses candidates that overlap a better one.
//!
//! Before that, once: [`Runtime`] loads ONNX Runtime; [`Model`] reads an ONNX file (`onnx_file`,
//! `wire`) and its `manifest`, which may be missing. `families` recognise from both how the model
//! is fed and what its outputs mean: each way is a `reading`. A new kind of model is added there.
//! [`Detector::new`] checks the reading on a blank picture; where several are possible, `settle`
//! chooses one. [`Description`] tells people and other services what was found.
//!
//! # Example
//!
//! ```no_run
//! use moliceiro_vision::{Detector, LibraryPaths, Model, Options, Picture, Runtime};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // The library that ORT_DYLIB_PATH names, or else the system's libonnxruntime.so.
//! let runtime = Runtime::load(&LibraryPaths::default())?;
//! let model = Model::builtin();
//! let mut detector = Detector::new(&runtime, &model, Options::default())?;
//!
//! // A JPEG of the size that the model takes: pictures are not scaled here.
//! let jpeg = std::fs::read("street-416x416.jpg")?;
//! for found in detector.detect(Picture::jpeg(model.size(), &jpeg))? {
//!     println!("{} {:.2} at {:?}", found.label, found.score, found.bounds);
//! }
//! # Ok(())
//! # }
//! ```

mod candidate;
mod decoders;
mod description;
mod detector;
mod families;
mod fit;
mod frame_error;
mod image;
mod input;
mod labels;
mod limited_run;
mod manifest;
mod manifest_text;
mod model;
mod model_error;
mod nms;
mod onnx_file;
mod phases;
mod picture;
mod pixels;
mod reading;
mod runtime;
mod session;
mod settle;
mod sidecar;
mod steps;
mod text;
mod trial;
mod value;
mod wire;

pub use decoders::UnexpectedOutput;
pub use description::Description;
pub use detector::{Detector, Options};
pub use families::{FamilyName, Unrecognised};
pub use frame_error::{FrameError, InferenceError, JpegError, PictureError};
pub use image::Image;
pub use input::{Colors, Element, Layout};
pub use manifest::ManifestError;
pub use model::Model;
pub use model_error::{Mismatch, ModelError};
pub use moliceiro_messages::{Color, Detection, Encoding, Fit, Letterbox, Matrix, Scaling, Size};
pub use phases::{Lap, Phases};
pub use picture::Picture;
pub use pixels::Samples;
pub use runtime::{LibraryPaths, Runtime, RuntimeError};
pub use steps::{Decoding, Outputs, Steps};
pub use value::InvalidValue;
pub use wire::Malformed;

//! Finds the objects in pictures with an ONNX model.
//!
//! The path of a picture: [`Detector`] turns pixels into a tensor (`pixels`), runs the model
//! (`session`), reads its output as candidates (`families`) and suppresses overlaps (`nms`).

mod families;
mod manifest;
mod model;
mod nms;
mod phases;
mod pixels;
mod runtime;
mod session;

pub use model::{Model, ModelError};
pub use phases::{Lap, Phases};
pub use runtime::{Runtime, RuntimeError};
pub use session::{Detector, FrameError, Options, Steps};

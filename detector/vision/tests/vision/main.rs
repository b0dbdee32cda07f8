//! The detector with the real ONNX Runtime: on pictures, on hostile frames, with models of your own.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod hostile;
mod int8;
mod models;
mod reference;
mod support;

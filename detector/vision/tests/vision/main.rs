//! The detector with the real ONNX Runtime: on pictures, hostile frames, and other models.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::cast_possible_truncation, reason = "test pictures are small")]

mod builtin;
mod hostile;
mod int8;
mod layouts;
mod misfits;
mod models;
mod reference;
mod support;

//! The detector on real pictures, hostile ones, and models of its users, with the real ONNX Runtime.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod hostile;
mod int8;
mod models;
mod reference;
mod support;

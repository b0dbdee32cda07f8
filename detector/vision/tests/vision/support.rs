//! Shared by the tests and the benchmark: the real ONNX Runtime, and frames of pictures in
//! `tests/data`.
#![allow(dead_code, clippy::unwrap_used, reason = "no test uses all of it; they fail by panicking")]

use std::path::{Path, PathBuf};

use moliceiro_messages::{Color, Encoding, Frame, Letterbox, Matrix, Size, VideoId};
use moliceiro_vision::{Detector, LibraryPaths, Model, Options, Runtime};

pub const JFIF: Color = Color { matrix: Matrix::Bt601, full_range: true };

pub fn data(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(path)
}

pub fn runtime() -> Runtime {
    Runtime::load(&LibraryPaths { configured: None, bundled: Some(bundled()) }).unwrap()
}

pub fn detector(options: Options) -> Detector {
    Detector::new(&runtime(), &Model::builtin(), options).unwrap()
}

/// A frame without a border.
pub fn frame(
    encoding: Encoding,
    color: Color,
    (width, height): (u32, u32),
    pixels: Vec<u8>,
) -> Frame {
    let size = Size { width, height };
    let letterbox = Letterbox { source: size, left: 0, top: 0, content: size };
    Frame {
        version: 1,
        video: VideoId::for_name("test", "1"),
        index: 0,
        pts: None,
        decoded_at: None,
        encoding,
        size,
        letterbox,
        color,
        pixels,
    }
}

pub fn jpeg(size: (u32, u32), pixels: Vec<u8>) -> Frame {
    frame(Encoding::Jpeg, JFIF, size, pixels)
}

/// The library that `make setup` installs.
pub fn bundled() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.deps/lib/libonnxruntime.so")
}

/// Intersection over union.
pub fn overlap(a: &[f32; 4], b: &[f32; 4]) -> f32 {
    let area = |r: &[f32; 4]| (r[2] - r[0]).max(0.0) * (r[3] - r[1]).max(0.0);
    let shared = area(&[a[0].max(b[0]), a[1].max(b[1]), a[2].min(b[2]), a[3].min(b[3])]);
    shared / (area(a) + area(b) - shared)
}

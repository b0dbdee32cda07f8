//! What a user reads when ONNX Runtime cannot be loaded.
//!
//! Apart from the other tests, as a process loads the library only once.

#[path = "vision/support.rs"]
mod support;

use std::path::Path;

use moliceiro_vision::{Detector, LibraryPaths, Model, Options, Runtime, RuntimeError};
use support::bundled;

fn load_configured(path: &Path) -> Result<Runtime, RuntimeError> {
    Runtime::load(&LibraryPaths { configured: Some(path.to_owned()), bundled: None })
}

#[test]
fn a_library_that_cannot_be_loaded_is_an_error_with_a_way_out() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("libonnxruntime.so");
    let error = load_configured(&missing).unwrap_err().to_string();
    for part in [missing.to_str().unwrap(), "no such file", "leave it out"] {
        assert!(error.contains(part), "{error}");
    }

    let text = folder.path().join("text.so");
    std::fs::write(&text, "not a library").unwrap();
    let error = load_configured(&text).unwrap_err().to_string();
    assert!(error.contains("text.so") && !error.contains('\n'), "{error}");

    // Any library that is not ONNX Runtime.
    let other =
        ["/lib/x86_64-linux-gnu/libm.so.6", "/lib/aarch64-linux-gnu/libm.so.6"].map(Path::new);
    if let Some(other) = other.into_iter().find(|path| path.exists()) {
        let error = load_configured(other).unwrap_err().to_string();
        assert!(error.contains("OrtGetApiBase") && !error.contains('\n'), "{error}");
    }

    let runtime =
        Runtime::load(&LibraryPaths { configured: None, bundled: Some(bundled()) }).unwrap();
    assert!(runtime.library().ends_with("lib/libonnxruntime.so"), "{runtime:?}");
    assert!(runtime.description().contains("ORT Build Info"));
    Detector::new(&runtime, &Model::builtin(), Options::default()).unwrap();
    // A wrong path is an error even once a library is loaded.
    assert!(load_configured(&missing).is_err());
}

//! Where ONNX Runtime is not, and what people are told then. One test in a process of its own: a
//! library is loaded once.

use std::path::{Path, PathBuf};

use moliceiro_vision::{Detector, Model, Options, Runtime};

#[test]
fn a_library_that_cannot_be_loaded_is_an_error_with_a_way_out() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("libonnxruntime.so");
    let error = Runtime::load(Some(&missing), None).unwrap_err().to_string();
    for part in [missing.to_str().unwrap(), "no such file", "leave it out"] {
        assert!(error.contains(part), "{error}");
    }

    let text = folder.path().join("text.so");
    std::fs::write(&text, "this is no library").unwrap();
    let error = Runtime::load(Some(&text), None).unwrap_err().to_string();
    assert!(error.contains("text.so") && !error.contains('\n'), "{error}");

    // Any library that is not ONNX Runtime.
    let other = ["/lib/x86_64-linux-gnu/libm.so.6", "/lib/aarch64-linux-gnu/libm.so.6"]
        .map(std::path::Path::new);
    if let Some(other) = other.into_iter().find(|path| path.exists()) {
        let error = Runtime::load(Some(other), None).unwrap_err().to_string();
        assert!(error.contains("OrtGetApiBase") && !error.contains('\n'), "{error}");
    }

    let runtime = Runtime::load(None, bundled()).unwrap();
    assert!(runtime.library().ends_with("lib/libonnxruntime.so"), "{runtime:?}");
    assert!(runtime.description().contains("ORT Build Info"));
    Detector::new(&runtime, &Model::builtin(), Options::default()).unwrap();
    // Loaded already, and still a path that is wrong is told.
    assert!(Runtime::load(Some(&missing), None).is_err());
}

/// The library that `make setup` installs.
fn bundled() -> Option<PathBuf> {
    Some(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.deps/lib/libonnxruntime.so"))
}

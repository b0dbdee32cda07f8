//! Where programs, samples and tools are.

use std::path::{Path, PathBuf};

/// The workspace's root.
pub fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn present(path: PathBuf, remedy: &str) -> PathBuf {
    assert!(path.exists(), "{} is missing: run `{remedy}`", path.display());
    path
}

/// A sample video.
pub fn sample(name: &str) -> PathBuf {
    present(project().join(".deps/samples").join(name), "make setup")
}

pub fn nats_server() -> PathBuf {
    present(project().join(".deps/bin/nats-server"), "make setup")
}

/// The last release that is too old for Moliceiro.
pub fn old_nats_server() -> PathBuf {
    present(project().join(".deps/bin/nats-server-2.10"), "make setup")
}

/// Something that only tests need, such as Prometheus.
pub fn test_tool(path: &str) -> PathBuf {
    present(project().join(".deps-tests").join(path), "make setup-tests")
}

/// A program of the workspace. Tests run in `target/<profile>/deps`, programs are one folder up.
///
/// Cargo builds them before the tests only with `cargo build --workspace --bins --tests`.
pub fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let folder = test.ancestors().nth(2).unwrap();
    present(folder.join(name), "cargo build --workspace --bins --tests")
}

//! Rules of the workspace that neither the compiler nor Clippy knows: what crates may depend on,
//! under which licences, and that the documentation names things that exist.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod documents;
mod guarantees;
mod layout;
mod licences;
mod metadata;

use std::path::{Path, PathBuf};

/// The folder of the workspace.
fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// Files below a folder of the workspace with this extension, without what is built or installed.
fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() {
            if !name.starts_with('.') && name != "target" && name != "node_modules" {
                found.extend(files(&path, extension));
            }
        } else if path.extension().is_some_and(|found| found == extension) {
            found.push(path);
        }
    }
    found.sort();
    found
}

use std::path::{Path, PathBuf};

/// Finds a file that is distributed with the program, such as `bin/nats-server` or
/// `lib/libonnxruntime.so`.
///
/// An installed program has it in `lib/moliceiro` below the prefix of its own `bin`, as in the
/// packages that `make dist` builds, or else at this path below that prefix. A program built in a
/// checkout finds it in the checkout's `.deps`, where `make setup` puts it.
pub fn bundled(file: &str) -> Option<PathBuf> {
    let program = std::env::current_exe().ok()?;
    let program = program.canonicalize().unwrap_or(program);
    find_above(&program, file)
}

fn find_above(program: &Path, file: &str) -> Option<PathBuf> {
    let folder = program.parent()?;
    let own = Path::new("lib/moliceiro").join(Path::new(file).file_name()?);
    // Its own first: the system may have another version beside the program.
    let installed =
        folder.parent().into_iter().flat_map(|prefix| [prefix.join(&own), prefix.join(file)]);
    let in_checkout = folder.ancestors().map(|above| above.join(".deps").join(file));
    installed.chain(in_checkout).find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_found_beside_bin_and_in_a_checkout_above() {
        let top = tempfile::tempdir().unwrap();
        let write = |path: &str| {
            let path = top.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, "").unwrap();
            path
        };
        assert_eq!(find_above(&top.path().join("usr/bin/moliceiro"), "lib/a.so"), None);
        let deps = write("src/.deps/lib/a.so");
        assert_eq!(
            find_above(&top.path().join("src/target/debug/deps/test"), "lib/a.so"),
            Some(deps)
        );
        let prefix = write("usr/lib/a.so");
        assert_eq!(find_above(&top.path().join("usr/bin/moliceiro"), "lib/a.so"), Some(prefix));
        let own = write("usr/lib/moliceiro/a.so");
        assert_eq!(find_above(&top.path().join("usr/bin/moliceiro"), "lib/a.so"), Some(own));
    }
}

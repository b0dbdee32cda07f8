use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use crate::error::DecodeError;
use crate::file::{shown_path, unreadable};

/// In lower case.
const EXTENSIONS: [&str; 12] =
    ["bmp", "gif", "jpe", "jpeg", "jpg", "pbm", "pgm", "png", "ppm", "tif", "tiff", "webp"];
/// All names are in memory at once.
const MAX_PICTURES: usize = 1_000_000;

/// The pictures of a folder in natural order: `b2.png` comes before `b10.png`.
///
/// Subfolders, hidden files and links that lead out of the folder are left out.
pub(crate) fn pictures(folder: &Path) -> Result<Vec<PathBuf>, DecodeError> {
    let path = shown_path(folder);
    let failed = |error| unreadable(&path, &error);
    let real = folder.canonicalize().map_err(failed)?;
    let mut pictures = Vec::new();
    for entry in std::fs::read_dir(&real).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        if is_picture(&name) && is_inside(&real, &name) {
            pictures.push((name.to_string_lossy().into_owned(), name));
        }
        if pictures.len() > MAX_PICTURES {
            return Err(DecodeError::TooManyPictures { path, most: MAX_PICTURES });
        }
    }
    if pictures.is_empty() {
        return Err(DecodeError::NoPictures { path });
    }
    pictures.sort_by(|(a, a_bytes), (b, b_bytes)| {
        natord::compare(a, b).then_with(|| a_bytes.cmp(b_bytes))
    });
    Ok(pictures.into_iter().map(|(_, name)| real.join(name)).collect())
}

/// Whether a file of this name is one of the pictures of a folder.
pub fn is_picture(name: &OsStr) -> bool {
    let extension = Path::new(name)
        .extension()
        .map(|extension| extension.to_string_lossy().to_ascii_lowercase());
    !name.to_string_lossy().starts_with('.')
        && extension.is_some_and(|extension| EXTENSIONS.contains(&extension.as_str()))
}

/// Read access is granted by folder, so a link must not lead out of one. A broken link counts as
/// inside: opening it reports the error.
fn is_inside(folder: &Path, name: &OsString) -> bool {
    let path = folder.join(name);
    path.canonicalize().map_or(true, |real| real.starts_with(folder) && !real.is_dir())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        pictures(folder)
            .unwrap()
            .iter()
            .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
            .collect()
    }

    #[test]
    fn pictures_are_in_natural_order() {
        let folder = tempfile::tempdir().unwrap();
        let expected = ["b1.jpg", "b2.PNG", "b02.png", "b10.webp", "b10a.bmp", "c.tiff", "ü 3.gif"];
        for name in expected.iter().rev().chain(&["notes.txt", ".hidden.png", "Thumbs.db", "png"]) {
            std::fs::write(folder.path().join(name), "x").unwrap();
        }
        std::fs::create_dir(folder.path().join("more.png")).unwrap();
        let found = names(folder.path());
        assert_eq!(found.len(), expected.len(), "{found:?}");
        let place = |name: &str| found.iter().position(|found| found == name).unwrap();
        for pair in [
            ["b1.jpg", "b2.PNG"],
            ["b2.PNG", "b10.webp"],
            ["b02.png", "b10.webp"],
            ["b10.webp", "b10a.bmp"],
            ["b10a.bmp", "c.tiff"],
        ] {
            assert!(place(pair[0]) < place(pair[1]), "{pair:?}: {found:?}");
        }
    }

    #[test]
    fn a_link_does_not_lead_out_of_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let (inside, outside) = (folder.path().join("in"), folder.path().join("out.png"));
        std::fs::create_dir(&inside).unwrap();
        std::fs::write(&outside, "x").unwrap();
        std::fs::write(inside.join("a.png"), "x").unwrap();
        std::os::unix::fs::symlink(&outside, inside.join("b.png")).unwrap();
        std::os::unix::fs::symlink(inside.join("a.png"), inside.join("c.png")).unwrap();
        assert_eq!(names(&inside), ["a.png", "c.png"]);
    }

    #[test]
    fn a_folder_without_pictures_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("notes.txt"), "x").unwrap();
        assert!(matches!(pictures(folder.path()), Err(DecodeError::NoPictures { .. })));
        assert!(matches!(
            pictures(&folder.path().join("absent")),
            Err(DecodeError::NotFound { .. })
        ));
    }
}

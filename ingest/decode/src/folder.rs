use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use crate::error::DecodeError;
use crate::file::{shown_path, unreadable};

/// In lower case.
const EXTENSIONS: [&str; 34] = [
    "apng", "avif", "avifs", "bmp", "dib", "gif", "heic", "heics", "heif", "heifs", "hif", "j2c",
    "j2k", "jfi", "jfif", "jif", "jp2", "jpc", "jpe", "jpeg", "jpf", "jpg", "jps", "jpx", "jxl",
    "mpo", "pbm", "pgm", "png", "pnm", "ppm", "tif", "tiff", "webp",
];
/// What file managers leave in folders, in lower case. Names that start with a dot are hidden.
const HOUSEKEEPING: [&str; 3] = ["desktop.ini", "ehthumbs.db", "thumbs.db"];
/// How many of the files that are not pictures are named.
const NAMED: usize = 3;
/// All names are in memory at once.
const MAX_PICTURES: usize = 1_000_000;

/// What is in a folder.
pub(crate) struct Folder {
    /// In natural order: `b2.png` comes before `b10.png`.
    pub(crate) pictures: Vec<PathBuf>,
    /// Files that are not pictures, or that links lead to out of the folder.
    pub(crate) ignored: Ignored,
}

/// Files of a folder that are not decoded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ignored {
    pub(crate) count: u64,
    /// The names of the first ones.
    pub(crate) names: Vec<String>,
}

/// Reads a folder. Subfolders and hidden files are left out.
pub(crate) fn read(folder: &Path) -> Result<Folder, DecodeError> {
    let path = shown_path(folder);
    let failed = |error| unreadable(&path, &error);
    let real = folder.canonicalize().map_err(failed)?;
    let mut pictures = Vec::new();
    let mut others = Vec::new();
    for entry in std::fs::read_dir(&real).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        if is_housekeeping(&name) || real.join(&name).is_dir() {
            continue;
        }
        let kind =
            if is_picture(&name) && is_inside(&real, &name) { &mut pictures } else { &mut others };
        kind.push((name.to_string_lossy().into_owned(), name));
        if pictures.len() > MAX_PICTURES {
            return Err(DecodeError::TooManyPictures { path, most: MAX_PICTURES });
        }
    }
    if pictures.is_empty() {
        return Err(DecodeError::NoPictures { path });
    }
    let in_order = |(a, a_bytes): &(String, OsString), (b, b_bytes): &(String, OsString)| {
        natord::compare(a, b).then_with(|| a_bytes.cmp(b_bytes))
    };
    pictures.sort_by(in_order);
    others.sort_by(in_order);
    let ignored = Ignored {
        count: others.len() as u64,
        names: others.into_iter().take(NAMED).map(|(name, _)| name).collect(),
    };
    let pictures = pictures.into_iter().map(|(_, name)| real.join(name)).collect();
    Ok(Folder { pictures, ignored })
}

fn is_housekeeping(name: &OsStr) -> bool {
    let name = name.to_string_lossy().to_ascii_lowercase();
    name.starts_with('.') || HOUSEKEEPING.contains(&name.as_str())
}

/// Whether a file of this name is one of the pictures of a folder.
pub fn is_picture(name: &OsStr) -> bool {
    let extension = Path::new(name)
        .extension()
        .map(|extension| extension.to_string_lossy().to_ascii_lowercase());
    !is_housekeeping(name)
        && extension.is_some_and(|extension| EXTENSIONS.contains(&extension.as_str()))
}

/// Read access is granted by folder, so a link must not lead out of one. A broken link counts as
/// inside: opening it reports the error.
fn is_inside(folder: &Path, name: &OsString) -> bool {
    let path = folder.join(name);
    path.canonicalize().map_or(true, |real| real.starts_with(folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        read(folder)
            .unwrap()
            .pictures
            .iter()
            .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
            .collect()
    }

    #[test]
    fn pictures_are_in_natural_order() {
        let folder = tempfile::tempdir().unwrap();
        let expected = [
            "b1.jpg", "b2.PNG", "b02.png", "b10.webp", "b10a.bmp", "c.tiff", "d.HEIC", "e.jfif",
            "f.Avif", "ü 3.gif",
        ];
        let others = ["notes.txt", ".hidden.png", "Thumbs.db", ".DS_Store", "png", "film.mp4"];
        for name in expected.iter().rev().chain(&others) {
            std::fs::write(folder.path().join(name), "x").unwrap();
        }
        std::fs::create_dir(folder.path().join("more.png")).unwrap();
        let found = names(folder.path());
        assert_eq!(found.len(), expected.len(), "{found:?}");
        let ignored = read(folder.path()).unwrap().ignored;
        assert_eq!((ignored.count, ignored.names.len()), (3, 3));
        assert_eq!(ignored.names, ["film.mp4", "notes.txt", "png"]);
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
        assert!(matches!(read(folder.path()), Err(DecodeError::NoPictures { .. })));
        assert!(matches!(read(&folder.path().join("absent")), Err(DecodeError::NotFound { .. })));
    }
}

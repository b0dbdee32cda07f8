//! What a folder on the command line means: the videos in it, or, if it has pictures only, one
//! video of these.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use moliceiro_decode::is_picture;
use moliceiro_nats::messages::printable;

use crate::inputs::{InputError, VideoInput};

/// Endings of files that are videos, in lower case.
const EXTENSIONS: [&str; 49] = [
    "264", "265", "3g2", "3gp", "amv", "asf", "av1", "avi", "dav", "divx", "dv", "f4v", "flv",
    "gxf", "h264", "h265", "h26l", "hevc", "insv", "ivf", "lrv", "m1v", "m2p", "m2t", "m2ts",
    "m2v", "m4v", "mj2", "mjpeg", "mjpg", "mkv", "mod", "mov", "mp4", "mpe", "mpeg", "mpg", "mts",
    "mxf", "nut", "obu", "ogm", "ogv", "qt", "rmvb", "ts", "vob", "webm", "wmv",
];
/// Enough bytes of a file without such an ending to recognise a video.
const SIGNATURE_BYTES: usize = 377;
/// Folders within folders, deeper than anyone sorts videos.
const MAX_DEPTH: usize = 64;

/// The videos that the command line names, folders replaced by what is in them.
#[derive(Debug, Default)]
pub(crate) struct Expanded {
    pub(crate) inputs: Vec<VideoInput>,
    /// Folders of pictures among them: each is one video, whose frames have no times.
    pub(crate) picture_folders: Vec<String>,
    /// What is left out, for people.
    pub(crate) notes: Vec<String>,
}

/// What is in a folder, hidden files excepted, in natural order.
#[derive(Default)]
struct Listing {
    videos: Vec<PathBuf>,
    pictures: usize,
    others: Vec<String>,
    folders: Vec<PathBuf>,
}

impl Expanded {
    /// Replaces each folder by the videos in it; if `recursive`, by those in its folders too.
    pub(crate) fn of(inputs: Vec<VideoInput>, recursive: bool) -> Result<Self, InputError> {
        let mut expanded = Self::default();
        for input in inputs {
            match input.path().filter(|path| path.is_dir()) {
                Some(folder) => {
                    let before = expanded.inputs.len();
                    expanded.add_folder(&folder, recursive, 0)?;
                    if expanded.inputs.len() == before {
                        // Decoding reports what is wrong with it.
                        expanded.inputs.push(input);
                    }
                }
                None => expanded.inputs.push(input),
            }
        }
        Ok(expanded)
    }

    fn add_folder(
        &mut self,
        folder: &Path,
        recursive: bool,
        depth: usize,
    ) -> Result<(), InputError> {
        // A folder that cannot be read is reported like a video that cannot be read.
        let Ok(found) = Listing::of(folder) else {
            self.inputs.push(VideoInput::of_path(folder)?);
            return Ok(());
        };
        let name = printable(folder.as_os_str().as_bytes());
        if found.videos.is_empty() && found.pictures > 0 {
            self.inputs.push(VideoInput::of_path(folder)?);
            self.picture_folders.push(name.clone());
        }
        for video in &found.videos {
            self.inputs.push(VideoInput::of_path(video)?);
        }
        if recursive && depth < MAX_DEPTH {
            self.notes.extend(found.note(&name, false));
            for folder in &found.folders {
                self.add_folder(folder, recursive, depth + 1)?;
            }
        } else {
            self.notes.extend(found.note(&name, true));
        }
        Ok(())
    }
}

impl Listing {
    fn of(folder: &Path) -> io::Result<Self> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(folder)? {
            names.push(entry?.file_name());
        }
        names.sort_by(|a, b| {
            natord::compare(&a.to_string_lossy(), &b.to_string_lossy()).then_with(|| a.cmp(b))
        });
        let mut found = Self::default();
        for name in names.into_iter().filter(|name| !name.as_bytes().starts_with(b".")) {
            let path = folder.join(&name);
            // A link to a folder could lead back here.
            if path.is_dir() {
                if !path.is_symlink() {
                    found.folders.push(path);
                }
            } else if is_picture(&name) {
                found.pictures += 1;
            } else if has_video_extension(&path) || is_video(&path) {
                found.videos.push(path);
            } else {
                found.others.push(printable(name.as_bytes()));
            }
        }
        Ok(found)
    }

    /// Says what of the folder is not counted, so that nothing is left out silently.
    fn note(&self, folder: &str, without_folders: bool) -> Option<String> {
        let plural = |n: usize, one: &str| match n {
            1 => format!("1 {one}"),
            n => format!("{n} {one}s"),
        };
        let mut left_out = Vec::new();
        if self.pictures > 0 && !self.videos.is_empty() {
            left_out.push(format!(
                "{}, because it has videos (name the pictures to count them)",
                plural(self.pictures, "picture")
            ));
        }
        if let Some(first) = self.others.first() {
            left_out.push(format!("{} ({first}{})", plural(self.others.len(), "other file"), {
                if self.others.len() > 1 { ", …" } else { "" }
            }));
        }
        if without_folders && !self.folders.is_empty() {
            left_out.push(format!("{} (-r includes them)", plural(self.folders.len(), "folder")));
        }
        (!left_out.is_empty()).then(|| format!("{folder}: leaving out {}", left_out.join("; ")))
    }
}

fn has_video_extension(path: &Path) -> bool {
    path.extension().is_some_and(|extension| {
        EXTENSIONS.contains(&extension.to_string_lossy().to_ascii_lowercase().as_str())
    })
}

/// Recognises the common containers.
fn is_video(path: &Path) -> bool {
    // Opening a named pipe would wait for its writer.
    if !path.is_file() {
        return false;
    }
    let mut start = Vec::with_capacity(SIGNATURE_BYTES);
    let read =
        File::open(path).and_then(|file| file.take(SIGNATURE_BYTES as u64).read_to_end(&mut start));
    let is_at = |at: usize, signature: &[u8]| {
        start.get(at..).is_some_and(|rest| rest.starts_with(signature))
    };
    let is_media_file = is_at(4, b"ftyp") && !is_at(8, b"M4A") && !is_at(8, b"M4B");
    read.is_ok()
        && (is_media_file
            || is_at(0, b"\x1a\x45\xdf\xa3")
            || (is_at(0, b"RIFF") && is_at(8, b"AVI "))
            || is_at(0, b"FLV\x01")
            || is_at(0, b"\x00\x00\x01\xba")
            || is_at(0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11")
            || [0, 188, 376].iter().all(|&at| is_at(at, b"\x47")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[&str]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for file in files {
            let path = root.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "x").unwrap();
        }
        root
    }

    fn expand(root: &Path, recursive: bool) -> (Vec<String>, Expanded) {
        let input = VideoInput::of_path(root).unwrap();
        let expanded = Expanded::of(vec![input], recursive).unwrap();
        let paths = expanded.inputs.iter().map(|input| input.path().unwrap());
        let shown = paths.map(|path| path.strip_prefix(root).unwrap().display().to_string());
        (shown.collect(), expanded)
    }

    #[test]
    fn a_folder_with_videos_is_its_videos_in_natural_order() {
        let files = ["b10.MP4", "b2.mov", "p.jpg", "q.png", "notes.txt", ".x.mp4", "in/c.mkv"];
        let root = tree(&files);
        std::fs::write(root.path().join("clip"), b"\0\0\0\x18ftypisom").unwrap();
        let (paths, expanded) = expand(root.path(), false);
        assert_eq!(paths, ["b2.mov", "b10.MP4", "clip"]);
        let [note] = &expanded.notes[..] else { panic!("{:?}", expanded.notes) };
        for part in ["2 pictures", "1 other file (notes.txt)", "1 folder (-r"] {
            assert!(note.contains(part), "{note}");
        }
        assert!(expanded.picture_folders.is_empty());
        assert_eq!(expand(root.path(), true).0, ["b2.mov", "b10.MP4", "clip", "in/c.mkv"]);
    }

    #[test]
    fn a_folder_of_pictures_is_one_video_wherever_it_is() {
        let root = tree(&["day1/a.jpg", "day1/b.jpg", "day2/c.mp4"]);
        let (paths, expanded) = expand(root.path(), true);
        assert_eq!(paths, ["day1", "day2/c.mp4"]);
        assert_eq!(expanded.picture_folders.len(), 1);
        assert!(expanded.notes.is_empty(), "{:?}", expanded.notes);
        let (paths, expanded) = expand(root.path(), false);
        assert_eq!(paths, [""], "the folder itself, which is then reported");
        assert!(expanded.notes[0].contains("2 folders (-r"), "{:?}", expanded.notes);
    }

    #[test]
    fn links_that_lead_in_circles_are_not_followed() {
        let root = tree(&["in/a.mp4"]);
        std::os::unix::fs::symlink(root.path(), root.path().join("in/circle")).unwrap();
        assert_eq!(expand(root.path(), true).0, ["in/a.mp4"]);
    }
}

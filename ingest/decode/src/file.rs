use std::fs::{File, FileType};
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use gstreamer as gst;
use moliceiro_messages::shown_uri;
use url::Url;

use super::error::DecodeError;
use super::images::Format;

/// What a file's first bytes tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A still JPEG. Only `jpegparse` reads its orientation (EXIF), and GStreamer 1.22 does not
    /// plug it by itself; where it is made to, for all videos, it gives up a Motion JPEG at its
    /// first bad frame.
    Jpeg,
    Image(Format),
    Other,
}

/// Where a video is.
#[derive(Debug)]
pub(super) enum Origin {
    /// Behind a URI.
    Uri(Url),
    /// In an open file that need not have a path any more.
    File {
        file: File,
        /// What people call it.
        name: String,
    },
}

/// What is there and can be read.
pub(super) enum Checked {
    File(LocalFile),
    Folder {
        path: PathBuf,
        /// As people want it.
        name: String,
    },
}

impl Checked {
    /// As people want it.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::File(LocalFile { name, .. }) | Self::Folder { name, .. } => name,
        }
    }
}

/// A file that is there and can be read.
pub(super) struct LocalFile {
    /// As GStreamer wants it.
    pub(super) uri: String,
    /// As people want it: the path.
    pub(super) name: String,
    pub(super) path: PathBuf,
    pub(super) kind: Kind,
}

/// Checks what can be known before GStreamer looks at the file.
///
/// GStreamer's own answers to these faults are vaguer, and a named pipe would block it for ever.
pub(super) fn check(origin: &Origin) -> Result<Checked, DecodeError> {
    let (uri, name) = match origin {
        Origin::Uri(uri) => (uri.clone(), None),
        Origin::File { file, name } => {
            let path = format!("/proc/self/fd/{}", file.as_raw_fd());
            let failed =
                |()| DecodeError::Failed { video: name.clone(), reason: "it has no path".into() };
            (Url::from_file_path(path).map_err(failed)?, Some(name.clone()))
        }
    };
    if uri.scheme() != "file" {
        return Err(DecodeError::UnsupportedScheme {
            uri: shown_uri(&uri),
            scheme: uri.scheme().to_owned(),
        });
    }
    let not_local = || DecodeError::NotLocal { uri: shown_uri(&uri) };
    let file = uri.to_file_path().map_err(|()| not_local())?;
    if name.is_none() && file.is_dir() {
        return Ok(Checked::Folder { name: file.display().to_string(), path: file });
    }
    check_file(&file, name).map(Checked::File)
}

/// The same for a path. `name` is what errors call it, if it is not the path.
pub(super) fn check_file(file: &Path, name: Option<String>) -> Result<LocalFile, DecodeError> {
    let path = name.unwrap_or_else(|| file.display().to_string());
    let metadata = std::fs::metadata(file).map_err(|error| unreadable(&path, &error))?;
    if !metadata.is_file() {
        return Err(DecodeError::NotAFile { path, what: what_it_is(metadata.file_type()) });
    }
    if metadata.len() == 0 {
        return Err(DecodeError::Empty { path });
    }
    let mut start = [0; 12];
    let read = File::open(file)
        .and_then(|mut file| file.read(&mut start))
        .map_err(|error| unreadable(&path, &error))?;
    let kind = match &start[..read] {
        [0xff, 0xd8, 0xff, ..] => Kind::Jpeg,
        start => Format::of(start).map_or(Kind::Other, Kind::Image),
    };
    let uri = gst::glib::filename_to_uri(file, None)
        .map_err(|_| DecodeError::NotLocal { uri: path.clone() })?;
    Ok(LocalFile { uri: uri.into(), name: path, path: file.to_owned(), kind })
}

pub(super) fn unreadable(path: &str, error: &io::Error) -> DecodeError {
    let path = path.to_owned();
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => DecodeError::NotFound { path },
        _ => DecodeError::NotReadable { path, reason: error.to_string() },
    }
}

fn what_it_is(file: FileType) -> &'static str {
    if file.is_fifo() {
        "a named pipe"
    } else if file.is_socket() {
        "a socket"
    } else {
        "a device"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_may_not_be_read_is_told_from_a_missing_one() {
        let error = |kind: io::ErrorKind| unreadable("/a.mp4", &kind.into());
        assert!(matches!(error(io::ErrorKind::PermissionDenied), DecodeError::NotReadable { .. }));
        assert!(matches!(error(io::ErrorKind::NotFound), DecodeError::NotFound { .. }));
    }

    #[test]
    fn a_path_with_strange_characters_stays_the_same_file() {
        let folder =
            std::env::temp_dir().join(format!("moliceiro source ü%25#?{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join("a b.mp4");
        std::fs::write(&file, "x").unwrap();
        let Ok(Checked::File(found)) = check(&Origin::Uri(Url::from_file_path(&file).unwrap()))
        else {
            panic!("no file")
        };
        assert_eq!(gst::glib::filename_from_uri(&found.uri).unwrap().0, file);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}

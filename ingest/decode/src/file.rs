use std::fs::{File, FileType};
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use gstreamer as gst;
use moliceiro_messages::{printable, shown_uri};
use url::Url;

use crate::error::DecodeError;
use crate::format::{FileFormat, SIGNATURE_BYTES};

/// Where a video is.
#[derive(Debug)]
pub(crate) enum Input {
    Uri(Url),
    /// An open file that need not have a path any more. Errors call it `name`.
    File {
        file: File,
        name: String,
    },
}

/// An input that exists and can be read.
pub(crate) enum CheckedInput {
    File(LocalFile),
    /// `name` is for people.
    Folder {
        path: PathBuf,
        name: String,
    },
}

impl CheckedInput {
    /// The name for people.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::File(LocalFile { name, .. }) | Self::Folder { name, .. } => name,
        }
    }
}

/// A regular, readable file.
pub(crate) struct LocalFile {
    /// For GStreamer.
    pub(crate) uri: String,
    /// For people: the path, unless the caller has another name for it.
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    pub(crate) format: FileFormat,
}

/// Checks what can be checked before GStreamer opens the file.
///
/// GStreamer's own errors for these faults are vaguer, and a named pipe would block it forever.
pub(crate) fn check(input: &Input) -> Result<CheckedInput, DecodeError> {
    let (uri, name) = match input {
        Input::Uri(uri) => (uri.clone(), None),
        Input::File { file, name } => {
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
        return Ok(CheckedInput::Folder { name: shown_path(&file), path: file });
    }
    check_file(&file, name).map(CheckedInput::File)
}

/// Checks a path. Errors call it `name`, or else by its path.
pub(crate) fn check_file(file: &Path, name: Option<String>) -> Result<LocalFile, DecodeError> {
    let path = name.unwrap_or_else(|| shown_path(file));
    let metadata = std::fs::metadata(file).map_err(|error| unreadable(&path, &error))?;
    if !metadata.is_file() {
        return Err(DecodeError::NotAFile {
            path,
            what: file_type_name(metadata.file_type()).into(),
        });
    }
    if metadata.len() == 0 {
        return Err(DecodeError::Empty { path });
    }
    let mut start = [0; SIGNATURE_BYTES];
    let read = File::open(file)
        .and_then(|mut file| file.read(&mut start))
        .map_err(|error| unreadable(&path, &error))?;
    let format = FileFormat::from_signature(&start[..read]);
    let uri = gst::glib::filename_to_uri(file, None)
        .map_err(|_| DecodeError::NotLocal { uri: path.clone() })?;
    Ok(LocalFile { uri: uri.into(), name: path, path: file.to_owned(), format })
}

/// A path as errors show it.
pub(crate) fn shown_path(path: &Path) -> String {
    printable(path.as_os_str().as_bytes())
}

/// The error for a path that cannot be opened.
pub(crate) fn unreadable(path: &str, error: &io::Error) -> DecodeError {
    let path = path.to_owned();
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => DecodeError::NotFound { path },
        _ => DecodeError::NotReadable { path, reason: error.to_string() },
    }
}

fn file_type_name(file: FileType) -> &'static str {
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
    fn an_unreadable_file_is_not_a_missing_one() {
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
        let Ok(CheckedInput::File(found)) = check(&Input::Uri(Url::from_file_path(&file).unwrap()))
        else {
            panic!("no file")
        };
        assert_eq!(gst::glib::filename_from_uri(&found.uri).unwrap().0, file);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}

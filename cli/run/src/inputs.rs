use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use moliceiro_nats::messages::{Upload, printable};
use moliceiro_service::SettingsError;
use thiserror::Error;
use url::Url;

/// A video that the command line names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VideoInput {
    /// Where ingest reads it. A relative path has become an absolute `file://` URI.
    pub uri: Url,
    /// What summaries and progress lines call it: the last part of the URI, with as much of the
    /// rest as tells it from other videos.
    pub name: String,
}

/// A VIDEO argument that is neither a URI nor a path.
#[derive(Debug, Error)]
pub enum InputError {
    /// It contains `://`, but it does not parse.
    #[error("invalid URI: {0}")]
    Uri(#[from] url::ParseError),
    /// The path is empty, or the working directory does not exist.
    #[error("invalid path: {0}")]
    Path(#[from] std::io::Error),
    /// The path has parts that a URI cannot express.
    #[error("this path cannot be written as a URI")]
    NotAUri,
}

impl VideoInput {
    /// Parses the VIDEO arguments of a command line.
    ///
    /// The error names the first argument that is invalid, and makes the program exit with the
    /// code for wrong usage.
    pub fn parse_all(videos: &[OsString]) -> Result<Vec<Self>, SettingsError> {
        let parse = |video: &OsString| {
            Self::parse(video).map_err(|error| {
                let video = printable(video.as_bytes());
                SettingsError::Invalid(vec![format!("{video}: {error}")])
            })
        };
        videos.iter().map(parse).collect()
    }

    /// Parses one VIDEO argument: a URI if it contains `://`, or else a path, which need not be
    /// UTF-8.
    pub fn parse(video: &OsStr) -> Result<Self, InputError> {
        match video.to_str().filter(|text| text.contains("://")) {
            Some(uri) => Ok(Self::of(Url::parse(uri)?)),
            None => Self::of_path(Path::new(video)),
        }
    }

    /// The video, or folder, at a path.
    pub(crate) fn of_path(path: &Path) -> Result<Self, InputError> {
        let path = std::path::absolute(path)?;
        Ok(Self::of(Url::from_file_path(&path).map_err(|()| InputError::NotAUri)?))
    }

    fn of(uri: Url) -> Self {
        let name = Upload::of(uri.clone()).name();
        Self { uri, name }
    }

    /// Its path, if it is on this machine.
    pub(crate) fn path(&self) -> Option<PathBuf> {
        (self.uri.scheme() == "file").then(|| self.uri.to_file_path().ok())?
    }
}

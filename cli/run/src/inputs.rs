use std::path::Path;

use moliceiro_nats::messages::Upload;
use moliceiro_service::SettingsError;
use thiserror::Error;
use url::Url;

/// A video that the command line names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VideoInput {
    /// Where ingest reads it. A relative path has become an absolute `file://` URI.
    pub uri: Url,
    /// What summaries and progress lines call it: the last part of the URI.
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
    pub fn parse_all(videos: &[String]) -> Result<Vec<Self>, SettingsError> {
        let parse = |video: &String| {
            Self::parse(video)
                .map_err(|error| SettingsError::Invalid(vec![format!("{video}: {error}")]))
        };
        videos.iter().map(parse).collect()
    }

    /// Parses one VIDEO argument: a URI if it contains `://`, or else a path.
    pub fn parse(video: &str) -> Result<Self, InputError> {
        let uri = if video.contains("://") {
            Url::parse(video)?
        } else {
            let path = std::path::absolute(Path::new(video))?;
            Url::from_file_path(&path).map_err(|()| InputError::NotAUri)?
        };
        let name = Upload::of(uri.clone()).name();
        Ok(Self { uri, name })
    }
}

use std::error::Error;

use thiserror::Error;

use crate::messages::MalformedMessage;

/// Why a video cannot be read.
#[derive(Debug, Error)]
pub enum VideoError {
    /// The server does not answer, or refuses. A later attempt may succeed.
    #[error("the NATS server does not return {key}: {source}")]
    Unavailable {
        /// The video's id, or `videos` for all.
        key: String,
        /// What the client library reports.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The entry is not one that this release reads. A later attempt does not help.
    #[error("the entry of {key} cannot be parsed: {source}")]
    Malformed {
        /// The entry's key: a video id, unless another program wrote it.
        key: String,
        /// What is wrong with it.
        source: MalformedMessage,
    },
}

impl VideoError {
    pub(super) fn unavailable(key: &str, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Unavailable { key: key.to_owned(), source: source.into() }
    }
}

use thiserror::Error;

use crate::error::DecodeError;

/// Why a connection to a live source ended.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Disconnected {
    /// The source signalled its end.
    #[error("the source has ended")]
    Ended,
    /// The consumer closed [`Connection::windows`](super::Connection::windows).
    #[error("stopped")]
    Stopped,
    /// The server rejected the request: the source does not exist, or needs other credentials.
    #[error("{0}")]
    Refused(String),
    /// The source may become available again.
    #[error("{0}")]
    Lost(String),
    /// Its frames can never be decoded.
    #[error(transparent)]
    Unusable(DecodeError),
}

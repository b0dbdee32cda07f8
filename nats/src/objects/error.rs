use std::error::Error as _;

use async_nats::jetstream::context::{PublishError, PublishErrorKind};
use async_nats::jetstream::{self, ErrorCode};
use thiserror::Error;

use super::chunks::CHUNK;
use crate::subjects::UPLOADS_BUCKET;

/// Why an object cannot be read or written.
#[derive(Debug, Error)]
pub enum ObjectError {
    /// The URI does not name an object of the store.
    #[error("{uri} does not name an uploaded object: write it as obj://{UPLOADS_BUCKET}/NAME")]
    NoObjectUri {
        /// The URI of the object.
        uri: String,
    },
    /// It does not exist.
    #[error("{uri} does not exist in the object store: upload it again")]
    Missing {
        /// The URI of the object.
        uri: String,
    },
    /// It is a link to another object.
    #[error("{uri} is a link, and links are not followed: name the object itself")]
    Link {
        /// The URI of the object.
        uri: String,
    },
    /// Its bytes are not those that were stored.
    #[error("{uri} is damaged in the object store ({reason}): upload it again")]
    Damaged {
        /// The URI of the object.
        uri: String,
        /// What differs.
        reason: String,
    },
    /// The server does not answer. A later attempt may succeed.
    #[error("the object store is unavailable: {0}")]
    Unavailable(String),
    /// An object of this name exists, or existed, and must not be replaced.
    #[error("{uri} exists already")]
    Exists {
        /// The URI or the name of the object.
        uri: String,
    },
    /// The server does not have space for it.
    #[error("the object store is full: {0}")]
    Full(String),
}

impl ObjectError {
    /// The same error about an object that people know by this name.
    #[must_use]
    pub fn named(mut self, name: &str) -> Self {
        use ObjectError::{Damaged, Exists, Link, Missing, NoObjectUri};
        if let Missing { uri }
        | Link { uri }
        | Damaged { uri, .. }
        | NoObjectUri { uri }
        | Exists { uri } = &mut self
        {
            name.clone_into(uri);
        }
        self
    }
}

/// Turns a failed publish of a chunk or of an object's description into what a caller can do.
pub(super) fn publish_error(error: &PublishError) -> ObjectError {
    let code = error
        .source()
        .and_then(|source| source.downcast_ref::<jetstream::Error>())
        .map(jetstream::Error::error_code);
    match (error.kind(), code) {
        (PublishErrorKind::WrongLastSequence, _)
        | (_, Some(ErrorCode::STREAM_WRONG_LAST_SEQUENCE_CONSTANT)) => {
            ObjectError::Exists { uri: String::new() }
        }
        (_, Some(ErrorCode::STREAM_STORE_FAILED | ErrorCode::INSUFFICIENT_RESOURCES)) => {
            ObjectError::Full(error.to_string())
        }
        (PublishErrorKind::MaxPayloadExceeded, _) => {
            ObjectError::Full(format!("its max_payload is below the {CHUNK} bytes of a chunk"))
        }
        _ => ObjectError::Unavailable(error.to_string()),
    }
}

use std::fmt::Display;

use async_nats::jetstream::{self, ErrorCode};
use thiserror::Error;

use super::{MIB, StreamsSettings};

/// Why the streams cannot be used.
#[derive(Debug, Error)]
pub enum StreamsError {
    /// One exists with a configuration that breaks what is promised.
    #[error(
        "{what} exists on the NATS server with {field} = {found}; Moliceiro needs {needed}. Rename or delete it, or use another server"
    )]
    Incompatible {
        /// Such as `stream FRAMES`.
        what: String,
        /// Which part of its configuration.
        field: &'static str,
        /// As it is.
        found: String,
        /// As it should be.
        needed: String,
    },
    /// The server will not create one.
    #[error("the NATS server refuses {what}: {reason}{advice}")]
    Refused {
        /// Such as `stream FRAMES`.
        what: String,
        /// What it says.
        reason: String,
        /// What would help, where that is known.
        advice: String,
    },
    /// The server is too old for streams with replicas.
    #[error(
        "the nats-server is version {found}, which can lose frames of streams with replicas: use {needed} or newer, or one replica"
    )]
    TooOld {
        /// What it says of itself.
        found: String,
        /// The oldest that would do.
        needed: String,
    },
    /// The server does not create or show one now.
    #[error("the NATS server does not give {what}: {reason}")]
    Unavailable {
        /// Such as `stream FRAMES`.
        what: String,
        /// What it says.
        reason: String,
    },
}

pub(super) fn unavailable<E: Display>(what: impl Into<String>) -> impl FnOnce(E) -> StreamsError {
    let what = what.into();
    move |error| StreamsError::Unavailable { what, reason: error.to_string() }
}

pub(super) fn refused(
    what: &str,
    reason: &jetstream::Error,
    settings: &StreamsSettings,
) -> StreamsError {
    let advice = match reason.error_code() {
        ErrorCode::STORAGE_RESOURCES_EXCEEDED
        | ErrorCode::INSUFFICIENT_RESOURCES
        | ErrorCode::ACCOUNT_RESOURCES_EXCEEDED => {
            format!(". The streams need {} MiB of its JetStream file store", reserved_mib(settings))
        }
        ErrorCode::STREAM_REPLICAS_NOT_SUPPORTED => {
            format!(". {} replicas need as many servers of a cluster", settings.replicas)
        }
        _ => String::new(),
    };
    StreamsError::Refused { what: what.to_owned(), reason: reason.to_string(), advice }
}

fn reserved_mib(settings: &StreamsSettings) -> u64 {
    settings.stream_configs().iter().map(|config| config.max_bytes.unsigned_abs() / MIB).sum()
}

/// A cluster that has no leader yet, or not all its servers, may have them soon.
pub(super) fn may_pass(error: &jetstream::Error) -> bool {
    const UNAVAILABLE: usize = 503;
    error.code() == UNAVAILABLE || error.error_code() == ErrorCode::CLUSTER_NO_PEERS
}

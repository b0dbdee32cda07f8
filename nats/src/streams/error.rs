use std::fmt::Display;

use async_nats::jetstream::{self, ErrorCode};
use thiserror::Error;

use crate::storage::StuckStream;

use super::settings::{MIB, StreamsSettings};

/// Why a stream, consumer or bucket cannot be used.
#[derive(Debug, Error)]
pub enum StreamsError {
    /// It exists with a configuration that breaks a guarantee.
    #[error(
        "{what} exists on the NATS server with {field} = {found}; Moliceiro needs {needed}. \
         Rename or delete it, or use another server"
    )]
    Incompatible {
        /// Kind and name, such as `stream FRAMES`.
        what: String,
        /// The part of its configuration.
        field: &'static str,
        /// Its value on the server.
        found: String,
        /// The value that Moliceiro needs.
        needed: String,
    },
    /// The server refuses to create it.
    #[error("the NATS server refuses {what}: {reason}{advice}")]
    Refused {
        /// Kind and name, such as `stream FRAMES`.
        what: String,
        /// The server's reason.
        reason: String,
        /// What helps, as a sentence; empty where that is unknown.
        advice: String,
    },
    /// The server is too old for streams with replicas.
    #[error(
        "the nats-server is version {found}, which can lose frames of streams with replicas: \
         use {needed} or newer, or one replica"
    )]
    TooOld {
        /// The version that it reports.
        found: String,
        /// The oldest version that is safe.
        needed: String,
    },
    /// No service has created the streams.
    #[error(
        "the NATS server has no videos yet: no service has used it. Start one, or choose another \
         server with --nats"
    )]
    Unused,
    /// The server cannot write it.
    #[error("{0}")]
    Stuck(StuckStream),
    /// It cannot be created or read now. A later attempt may succeed.
    #[error("{what} is unavailable on the NATS server: {reason}")]
    Unavailable {
        /// Kind and name, such as `stream FRAMES`.
        what: String,
        /// The server's reason.
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
        ErrorCode::MEMORY_RESOURCES_EXCEEDED if settings.reserved_memory() > 0 => format!(
            ". The frame queue needs {} MiB of its JetStream memory store: raise max_memory_store, \
             lower streams.frames_max_bytes, or set streams.frames_storage = \"file\"",
            settings.reserved_memory() / MIB
        ),
        ErrorCode::STORAGE_RESOURCES_EXCEEDED
        | ErrorCode::INSUFFICIENT_RESOURCES
        | ErrorCode::ACCOUNT_RESOURCES_EXCEEDED => {
            format!(
                ". The streams need {} MiB of its JetStream file store: raise max_file_store, or \
                 lower streams.frames_max_bytes, streams.results_max_bytes and \
                 streams.other_max_bytes",
                settings.reserved_bytes() / MIB
            )
        }
        ErrorCode::STREAM_REPLICAS_NOT_SUPPORTED => {
            format!(". {} replicas need as many servers of a cluster", settings.replicas)
        }
        _ => String::new(),
    };
    StreamsError::Refused { what: what.to_owned(), reason: reason.to_string(), advice }
}

/// A cluster may soon have a leader, or its missing servers.
pub(super) fn may_pass(error: &jetstream::Error) -> bool {
    const UNAVAILABLE: usize = 503;
    error.code() == UNAVAILABLE || error.error_code() == ErrorCode::CLUSTER_NO_PEERS
}

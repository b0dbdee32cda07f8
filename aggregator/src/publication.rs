//! What publishing alarms, tracks and summaries has in common.
//!
//! Several aggregators may publish the same alarm or summary, or one of them again after a crash.
//! Each message is published on the condition that a known message is still the last on its
//! subject, so that every one is stored once and in order.

use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::stream::Stream;
use async_nats::jetstream::stream::{LastRawMessageError, LastRawMessageErrorKind};
use moliceiro_nats::publish::StoreError;
use thiserror::Error;
use tokio::task::JoinError;

#[derive(Debug, Error)]
pub(crate) enum PublicationError {
    /// The stream refuses the message; the publisher itself retries what may pass.
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("cannot read the last message on {subject}: {source}")]
    Lookup { subject: String, source: LastRawMessageError },
    #[error("publishing tracks stopped: {0}")]
    Task(#[from] JoinError),
}

/// The last message that a stream has on a subject.
pub(crate) async fn last_message(
    stream: &Stream,
    subject: &str,
) -> Result<Option<StreamMessage>, PublicationError> {
    match stream.get_last_raw_message_by_subject(subject).await {
        Ok(message) => Ok(Some(message)),
        Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
        Err(source) => Err(PublicationError::Lookup { subject: subject.to_owned(), source }),
    }
}

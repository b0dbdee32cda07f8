//! Storing a message for certain.

use std::error::Error as _;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use async_nats::jetstream::context::{PublishError, PublishErrorKind};
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::publish::PublishAck;
use async_nats::jetstream::{self, Context, ErrorCode};
use backon::{ExponentialBuilder, Retryable};
use bytes::Bytes;
use thiserror::Error;
use tracing::{debug, warn};

use crate::messages::{Event, VideoEvent, to_cbor};
use crate::{VideoId, subjects};

/// A full queue drains at the pace of the model: looking again more often than this gains nothing.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
const FIRST_PAUSE: Duration = Duration::from_millis(10);

const PERMANENT: [ErrorCode; 4] = [
    ErrorCode::STREAM_MESSAGE_EXCEEDS_MAXIMUM,
    ErrorCode::STREAM_WRONG_LAST_SEQUENCE_CONSTANT,
    ErrorCode::STREAM_SEALED,
    ErrorCode::BAD_REQUEST,
];

static STORED: AtomicU64 = AtomicU64::new(0);
static FOUND_FULL: AtomicU64 = AtomicU64::new(0);
static FOUND_UNAVAILABLE: AtomicU64 = AtomicU64::new(0);
static WAITING_FOR_ROOM: AtomicU64 = AtomicU64::new(0);

/// What became of this process's publishes so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statistics {
    /// Messages that a stream has acknowledged.
    pub stored: u64,
    /// Attempts that found the stream full.
    pub found_full: u64,
    /// Attempts that no stream answered.
    pub found_unavailable: u64,
    /// Messages that wait now for room in their stream.
    pub waiting_for_room: u64,
}

/// The statistics of this process.
pub fn statistics() -> Statistics {
    Statistics {
        stored: STORED.load(Relaxed),
        found_full: FOUND_FULL.load(Relaxed),
        found_unavailable: FOUND_UNAVAILABLE.load(Relaxed),
        waiting_for_room: WAITING_FOR_ROOM.load(Relaxed),
    }
}

/// One message that waits for room, counted from its first refusal until it is dropped.
#[derive(Default)]
struct WaitingForRoom(bool);

impl WaitingForRoom {
    fn refused(&mut self) {
        if !std::mem::replace(&mut self.0, true) {
            WAITING_FOR_ROOM.fetch_add(1, Relaxed);
        }
    }
}

impl Drop for WaitingForRoom {
    fn drop(&mut self) {
        if self.0 {
            WAITING_FOR_ROOM.fetch_sub(1, Relaxed);
        }
    }
}

/// A message that can never be stored.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The server's `max_payload` is smaller.
    #[error(
        "a message on {subject} is more than the NATS server takes ({source}): raise its max_payload, or send smaller frames"
    )]
    TooLarge {
        /// Where it was to go.
        subject: String,
        /// Its size, and the server's limit.
        source: PublishError,
    },
    /// Somebody else stored one there first.
    #[error("{subject} holds a message already")]
    NotFirst {
        /// Where it was to go.
        subject: String,
    },
    /// The server refuses it for what it is.
    #[error("the NATS server refuses a message on {subject}: {source}")]
    Refused {
        /// Where it was to go.
        subject: String,
        /// Why.
        source: PublishError,
    },
}

/// True when a stream took no message because it is full, which passes when consumers catch up.
fn is_full(error: &PublishError) -> bool {
    error_code(error) == Some(ErrorCode::STREAM_STORE_FAILED)
}

fn error_code(error: &PublishError) -> Option<ErrorCode> {
    error.source()?.downcast_ref::<jetstream::Error>().map(jetstream::Error::error_code)
}

/// False when the same message will be refused again. No answer, no leader and no room all pass.
pub fn may_pass(error: &PublishError) -> bool {
    use PublishErrorKind::{MaxPayloadExceeded, WrongLastMessageId, WrongLastSequence};
    match error.kind() {
        MaxPayloadExceeded | WrongLastMessageId | WrongLastSequence => false,
        _ => !error_code(error).is_some_and(|code| PERMANENT.contains(&code)),
    }
}

/// Publishes until a stream has acknowledged the message; waits while it is full or out of reach,
/// for ever.
///
/// `id` is the `Nats-Msg-Id`: a message whose acknowledgement was lost is sent again and still
/// stored once.
pub async fn store(
    jetstream: &Context,
    subject: &str,
    id: &str,
    payload: Bytes,
) -> Result<PublishAck, StoreError> {
    publish_message(jetstream, subject, PublishMessage::build().message_id(id).payload(payload))
        .await
}

/// Stores an event of a video's life. `id` is its `Nats-Msg-Id`; an event that may repeat has none.
pub async fn publish_event(
    jetstream: &Context,
    video: &VideoId,
    id: Option<&str>,
    event: Event,
) -> Result<(), StoreError> {
    const USUAL_SIZE: usize = 512;
    let payload = to_cbor(&VideoEvent::new(video.clone(), event), USUAL_SIZE).into();
    let message = PublishMessage::build().payload(payload);
    let message = match id {
        Some(id) => message.message_id(id),
        None => message,
    };
    publish_message(jetstream, &subjects::results(video), message).await.map(drop)
}

/// As [`store`], for a message with headers of its own.
pub async fn publish_message(
    jetstream: &Context,
    subject: &str,
    message: PublishMessage,
) -> Result<PublishAck, StoreError> {
    let attempt = || async {
        let stored = jetstream.send_publish(subject.to_owned(), message.clone()).await?;
        stored.await
    };
    let pauses = ExponentialBuilder::default()
        .with_min_delay(FIRST_PAUSE)
        .with_max_delay(LONGEST_PAUSE)
        .with_jitter()
        .without_max_times();
    let mut room = WaitingForRoom::default();
    let waiting = |error: &PublishError, _: Duration| {
        if is_full(error) {
            room.refused();
            FOUND_FULL.fetch_add(1, Relaxed);
            debug!(subject, "the stream is full: waiting for room");
        } else {
            FOUND_UNAVAILABLE.fetch_add(1, Relaxed);
            warn!(subject, %error, "not stored yet: trying again");
        }
    };
    let stored = attempt.retry(pauses).when(may_pass).notify(waiting).await;
    STORED.fetch_add(stored.is_ok().into(), Relaxed);
    stored.map_err(|source| {
        let subject = subject.to_owned();
        match source.kind() {
            PublishErrorKind::MaxPayloadExceeded => StoreError::TooLarge { subject, source },
            PublishErrorKind::WrongLastSequence => StoreError::NotFirst { subject },
            _ if error_code(&source) == Some(ErrorCode::STREAM_WRONG_LAST_SEQUENCE_CONSTANT) => {
                StoreError::NotFirst { subject }
            }
            _ => StoreError::Refused { subject, source },
        }
    })
}

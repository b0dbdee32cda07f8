//! Stores messages for certain: publishes until a stream acknowledges.

mod batch;

use std::error::Error as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use async_nats::jetstream::context::{PublishError, PublishErrorKind};
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::publish::PublishAck;
use async_nats::jetstream::{self, Context, ErrorCode};
use backon::Retryable;
use bytes::Bytes;
use thiserror::Error;
use tokio::sync::Mutex;
use tracing::{debug, warn};

pub use self::batch::{Batch, BatchError};

use crate::backoff::backoff;
use crate::messages::{Event, VideoEvent, to_cbor};
use crate::{VideoId, subjects};

/// A full queue drains at the model's pace, so more frequent attempts do not help.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
const FIRST_PAUSE: Duration = Duration::from_millis(10);

const PERMANENT: [ErrorCode; 4] = [
    ErrorCode::STREAM_MESSAGE_EXCEEDS_MAXIMUM,
    ErrorCode::STREAM_WRONG_LAST_SEQUENCE_CONSTANT,
    ErrorCode::STREAM_SEALED,
    ErrorCode::BAD_REQUEST,
];

/// Counts of a service's publishes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Messages that a stream has acknowledged so far.
    pub stored: u64,
    /// Attempts so far that found the stream full.
    pub found_full: u64,
    /// Attempts so far that found the stream unavailable.
    pub found_unavailable: u64,
    /// Messages that wait now until their stream has space.
    pub waiting_for_space: u64,
}

#[derive(Debug, Default)]
struct Counters {
    stored: AtomicU64,
    found_full: AtomicU64,
    found_unavailable: AtomicU64,
    waiting_for_space: AtomicU64,
}

/// A message that may wait for space, counted from its first refusal until it is dropped.
struct WaitingForSpace<'a> {
    waiting: bool,
    counters: &'a Counters,
}

impl WaitingForSpace<'_> {
    fn refused(&mut self) {
        if !std::mem::replace(&mut self.waiting, true) {
            self.counters.waiting_for_space.fetch_add(1, Relaxed);
        }
    }
}

impl Drop for WaitingForSpace<'_> {
    fn drop(&mut self) {
        if self.waiting {
            self.counters.waiting_for_space.fetch_sub(1, Relaxed);
        }
    }
}

/// Why a message can never be stored.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The server's `max_payload` is smaller.
    #[error(
        "a message on {subject} is larger than the NATS server accepts ({source}): \
         raise its max_payload, or send smaller frames"
    )]
    TooLarge {
        /// The message's subject.
        subject: String,
        /// The client's error, with the size and the limit.
        source: PublishError,
    },
    /// Another message was stored on the subject first.
    #[error("{subject} already holds a message")]
    NotFirst {
        /// The message's subject.
        subject: String,
    },
    /// The server refuses the message itself.
    #[error("the NATS server refuses a message on {subject}: {source}")]
    Refused {
        /// The message's subject.
        subject: String,
        /// The server's answer.
        source: PublishError,
    },
}

/// True when a stream is full, which passes when consumers catch up.
fn is_full(error: &PublishError) -> bool {
    error_code(error) == Some(ErrorCode::STREAM_STORE_FAILED)
}

fn error_code(error: &PublishError) -> Option<ErrorCode> {
    error.source()?.downcast_ref::<jetstream::Error>().map(jetstream::Error::error_code)
}

/// False when the same message would be refused again. A full or unavailable stream passes.
pub fn may_pass(error: &PublishError) -> bool {
    use PublishErrorKind::{MaxPayloadExceeded, WrongLastMessageId, WrongLastSequence};
    match error.kind() {
        MaxPayloadExceeded | WrongLastMessageId | WrongLastSequence => false,
        _ => !error_code(error).is_some_and(|code| PERMANENT.contains(&code)),
    }
}

/// Where messages wait while their stream is full. Only the first of them is sent again and again.
#[derive(Debug, Default)]
pub struct Turnstile(Mutex<()>);

/// Publishes until a stream has acknowledged. Cheap to clone: clones share their statistics.
#[derive(Clone, Debug)]
pub struct Publisher {
    jetstream: Context,
    counters: Arc<Counters>,
}

impl Publisher {
    /// A publisher with new statistics.
    pub fn new(jetstream: Context) -> Self {
        Self { jetstream, counters: Arc::default() }
    }

    /// What this publisher and its clones have published so far.
    pub fn statistics(&self) -> Statistics {
        let Counters { stored, found_full, found_unavailable, waiting_for_space } = &*self.counters;
        Statistics {
            stored: stored.load(Relaxed),
            found_full: found_full.load(Relaxed),
            found_unavailable: found_unavailable.load(Relaxed),
            waiting_for_space: waiting_for_space.load(Relaxed),
        }
    }

    /// Publishes until a stream has acknowledged the message; retries without end while the stream
    /// is full or unavailable.
    ///
    /// `id` is the `Nats-Msg-Id`: a message is stored once even if its acknowledgement is lost and
    /// it is sent again.
    pub async fn publish(
        &self,
        subject: &str,
        id: &str,
        payload: Bytes,
    ) -> Result<PublishAck, StoreError> {
        let message = PublishMessage::build().message_id(id).payload(payload);
        self.publish_message(subject, message).await
    }

    /// Publishes an event in a video's life. `id` is its `Nats-Msg-Id`; `None` for an event that
    /// may repeat.
    pub async fn publish_event(
        &self,
        video: &VideoId,
        id: Option<&str>,
        event: Event,
    ) -> Result<(), StoreError> {
        const USUAL_SIZE: usize = 512;
        let subject = subjects::event(video, &event);
        let payload = to_cbor(&VideoEvent::new(video.clone(), event), USUAL_SIZE).into();
        let message = PublishMessage::build().payload(payload);
        let message = match id {
            Some(id) => message.message_id(id),
            None => message,
        };
        self.publish_message(&subject, message).await.map(drop)
    }

    /// As [`publish`](Self::publish), for one of several messages on a subject that may be full:
    /// while it is, only one of those that share `turnstile` is sent again.
    pub async fn publish_in_turn(
        &self,
        subject: &str,
        id: &str,
        payload: Bytes,
        turnstile: &Turnstile,
    ) -> Result<PublishAck, StoreError> {
        let message = PublishMessage::build().message_id(id).payload(payload);
        self.store(subject, message, Some(turnstile)).await
    }

    /// As [`publish`](Self::publish), for a message with more headers.
    pub async fn publish_message(
        &self,
        subject: &str,
        message: PublishMessage,
    ) -> Result<PublishAck, StoreError> {
        self.store(subject, message, None).await
    }

    async fn store(
        &self,
        subject: &str,
        message: PublishMessage,
        turnstile: Option<&Turnstile>,
    ) -> Result<PublishAck, StoreError> {
        let attempt = || async {
            let sent = self.jetstream.send_publish(subject.to_owned(), message.clone()).await?;
            sent.await
        };
        let pauses = backoff(FIRST_PAUSE, LONGEST_PAUSE);
        let counters = &*self.counters;
        let mut space = WaitingForSpace { waiting: false, counters };
        let (mut answer, _turn) = match (attempt().await, turnstile) {
            (Err(error), Some(turnstile)) if is_full(&error) => {
                space.refused();
                match turnstile.0.try_lock() {
                    Ok(turn) => (Some(Err(error)), Some(turn)),
                    Err(_) => {
                        counters.found_full.fetch_add(1, Relaxed);
                        // Once the one before is stored, there may be space for this one too.
                        (None, Some(turnstile.0.lock().await))
                    }
                }
            }
            (answer, _) => (Some(answer), None),
        };
        let waiting = |error: &PublishError, _: Duration| {
            if is_full(error) {
                space.refused();
                counters.found_full.fetch_add(1, Relaxed);
                debug!(subject, "the stream is full: retrying");
            } else {
                counters.found_unavailable.fetch_add(1, Relaxed);
                warn!(subject, %error, "not stored yet: retrying");
            }
        };
        let again = || {
            let answer = answer.take();
            async {
                match answer {
                    Some(answer) => answer,
                    None => attempt().await,
                }
            }
        };
        let stored = again.retry(pauses).when(may_pass).notify(waiting).await;
        counters.stored.fetch_add(stored.is_ok().into(), Relaxed);
        stored.map_err(|source| {
            let subject = subject.to_owned();
            match source.kind() {
                PublishErrorKind::MaxPayloadExceeded => StoreError::TooLarge { subject, source },
                PublishErrorKind::WrongLastSequence => StoreError::NotFirst { subject },
                _ if error_code(&source)
                    == Some(ErrorCode::STREAM_WRONG_LAST_SEQUENCE_CONSTANT) =>
                {
                    StoreError::NotFirst { subject }
                }
                _ => StoreError::Refused { subject, source },
            }
        })
    }
}

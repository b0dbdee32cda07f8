//! A result together with the message to acknowledge for it, and the one place that acknowledges.

use std::time::{Duration, UNIX_EPOCH};

use async_nats::jetstream::stream::Stream;
use async_nats::jetstream::{AckKind, Message};
use moliceiro_nats::messages::{MalformedMessage, VideoEvent, from_cbor};
use moliceiro_nats::videos::LoggedEvent;
use moliceiro_nats::{VideoId, subjects};
use thiserror::Error;
use tracing::warn;

use crate::metrics::Metrics;

/// A result that was delivered, which only [`Settled::acknowledge`] acknowledges, or one that is
/// counted again.
pub(crate) struct ResultMessage {
    event: VideoEvent,
    source: Source,
}

#[expect(clippy::large_enum_variant, reason = "nearly all are of the large one")]
enum Source {
    Delivered(Message),
    /// The log itself, which had it stored at this time, in milliseconds since 1970-01-01 UTC.
    Log(u64),
}

/// What becomes of a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Disposition {
    /// Totals that contain it are stored.
    Counted,
    /// The stored totals contained it before, or it adds nothing to them.
    Duplicate,
    /// It cannot be counted yet: redeliver it after this time.
    Retry(Duration),
    /// It can never be counted, for this reason: remove it from the log.
    Drop(&'static str),
    /// Its video cannot be counted, for this reason: do not redeliver it, but keep it in the log.
    GiveUp(&'static str),
}

/// Results whose disposition is final: what they change is stored and published.
#[must_use = "results that are not acknowledged are redelivered"]
pub(crate) struct Settled(Vec<(ResultMessage, Disposition)>);

#[derive(Debug, Error)]
enum InvalidResult {
    #[error(transparent)]
    Malformed(#[from] MalformedMessage),
    #[error("a result of video {0} arrived on the subject of another video")]
    WrongSubject(VideoId),
    #[error(
        "an event of video {0} that no detector may report arrived on the subject of detectors"
    )]
    NotOfDetector(VideoId),
}

impl ResultMessage {
    /// Reads a message. One that is not a result is reported and removed from the log.
    pub(crate) async fn accept(message: Message, log: &Stream, metrics: &Metrics) -> Option<Self> {
        match read(&message) {
            Ok(event) => Some(Self { event, source: Source::Delivered(message) }),
            Err(error) => {
                metrics.malformed(&message.subject, &error);
                discard(log, &message).await;
                None
            }
        }
    }

    pub(crate) fn event(&self) -> &VideoEvent {
        &self.event
    }

    /// How often the message was delivered, this time included. `None` if its reply subject does
    /// not say so.
    pub(crate) fn deliveries(&self) -> Option<i64> {
        match &self.source {
            Source::Delivered(message) => message.info().ok().map(|info| info.delivered),
            Source::Log(_) => Some(1),
        }
    }

    /// When a result that is counted again was stored.
    pub(crate) fn stored_at(&self) -> Option<u64> {
        match self.source {
            Source::Delivered(_) => None,
            Source::Log(stored_at) => Some(stored_at),
        }
    }
}

fn read(message: &Message) -> Result<VideoEvent, InvalidResult> {
    let event: VideoEvent = from_cbor(&message.payload)?;
    let subject = message.subject.as_str();
    if subjects::is_of_event(subject, &event.video, &event.event) {
        Ok(event)
    } else if subject == subjects::detections(&event.video) {
        Err(InvalidResult::NotOfDetector(event.video))
    } else {
        Err(InvalidResult::WrongSubject(event.video))
    }
}

impl From<LoggedEvent> for ResultMessage {
    fn from(LoggedEvent { event, stored_at }: LoggedEvent) -> Self {
        let since = stored_at.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        Self { event, source: Source::Log(u64::try_from(since).unwrap_or(u64::MAX)) }
    }
}

impl Settled {
    pub(crate) fn new(
        results: Vec<ResultMessage>,
        disposition: impl Fn(&ResultMessage) -> Disposition,
    ) -> Self {
        let pair = |result: ResultMessage| {
            let disposition = disposition(&result);
            (result, disposition)
        };
        Self(results.into_iter().map(pair).collect())
    }

    /// `dispositions` has one element for each result, in the same order.
    pub(crate) fn with_dispositions(
        results: Vec<ResultMessage>,
        dispositions: Vec<Disposition>,
    ) -> Self {
        Self(results.into_iter().zip(dispositions).collect())
    }

    /// Reports and acknowledges each result.
    pub(crate) async fn acknowledge(self, log: &Stream, metrics: &Metrics) {
        for (ResultMessage { event, source }, disposition) in self.0 {
            let Source::Delivered(message) = source else { continue };
            let ack = match disposition {
                Disposition::Counted => {
                    metrics.counted(&event);
                    AckKind::Ack
                }
                Disposition::Duplicate => {
                    metrics.duplicate();
                    AckKind::Ack
                }
                Disposition::Retry(pause) => {
                    metrics.retried();
                    AckKind::Nak(Some(pause))
                }
                Disposition::Drop(reason) => {
                    metrics.late(&event, reason);
                    discard(log, &message).await;
                    continue;
                }
                Disposition::GiveUp(reason) => {
                    metrics.late(&event, reason);
                    AckKind::Term
                }
            };
            if let Err(error) = message.ack_with(ack).await {
                warn!(
                    video = %event.video,
                    %error,
                    "cannot acknowledge a result: it will be redelivered, which changes nothing"
                );
            }
        }
    }
}

/// Terminates a message and deletes it: what does not belong to a video must not fill the log.
async fn discard(log: &Stream, message: &Message) {
    if let Err(error) = message.ack_with(AckKind::Term).await {
        return warn!(%error, "cannot drop a result: it will be redelivered");
    }
    let Ok(info) = message.info() else { return };
    if let Err(error) = log.delete_message(info.stream_sequence).await {
        warn!(%error, "cannot remove a dropped result from the log");
    }
}

use std::time::Duration;

use async_nats::jetstream::consumer::{StreamError, pull};
use async_nats::jetstream::stream::Stream;
use async_nats::jetstream::{AckKind, Message};
use futures_util::StreamExt;
use moliceiro_nats::Streams;
use moliceiro_nats::messages::{VideoEvent, from_cbor};
use tokio::time::{Instant, timeout_at};
use tracing::warn;

use crate::report;

/// More results than this are written in several rounds.
const MOST: usize = 1000;
const HEARTBEAT: Duration = Duration::from_secs(5);
const EXPIRY: Duration = Duration::from_secs(30);

/// Results as they come, many at a time.
pub(crate) struct Batches {
    messages: pull::Stream,
    results: Stream,
    linger: Duration,
    /// When the last batch was handed out.
    last: Option<Instant>,
}

/// One result and the message to be acknowledged for it.
pub(crate) struct Received {
    pub(crate) event: VideoEvent,
    pub(crate) message: Message,
}

impl Batches {
    pub(crate) async fn open(streams: &Streams, linger: Duration) -> Result<Self, StreamError> {
        let messages = streams
            .aggregator
            .stream()
            .max_messages_per_batch(MOST)
            .heartbeat(HEARTBEAT)
            .expires(EXPIRY)
            .messages()
            .await?;
        Ok(Self { messages, results: streams.results.clone(), linger, last: None })
    }

    /// Waits for a first result, and collects more until it is `linger` since the last batch: after
    /// a pause the first result is counted at once, and a steady flow costs one write each
    /// `linger`. `None` when pulling has to be begun anew.
    ///
    /// Dropping the future before it is ready loses nothing: what was not acknowledged comes again.
    pub(crate) async fn next(&mut self) -> Option<Vec<Received>> {
        let mut batch = Vec::new();
        while batch.is_empty() {
            self.receive_into(&mut batch).await?;
        }
        let deadline = self.last.map_or_else(Instant::now, |last| last + self.linger);
        while batch.len() < MOST {
            match timeout_at(deadline, self.receive_into(&mut batch)).await {
                Ok(Some(())) => {}
                Ok(None) | Err(_) => break,
            }
        }
        self.last = Some(Instant::now());
        Some(batch)
    }

    async fn receive_into(&mut self, batch: &mut Vec<Received>) -> Option<()> {
        match self.messages.next().await? {
            Ok(message) => batch.extend(parse(&self.results, message).await),
            // A missed heartbeat or a lost connection: the stream goes on by itself.
            Err(error) => warn!(%error, "trouble while pulling results"),
        }
        Some(())
    }
}

/// A message that is no result never will be one: it is said, and not seen again.
async fn parse(results: &Stream, message: Message) -> Option<Received> {
    let error = match from_cbor::<VideoEvent>(&message.payload) {
        Ok(event)
            if message.subject.as_str() == moliceiro_nats::subjects::results(&event.video) =>
        {
            return Some(Received { event, message });
        }
        Ok(event) => format!("a result of video {} came on the subject of another", event.video),
        Err(error) => error.to_string(),
    };
    report::malformed(&message.subject, &error);
    discard(results, &message).await;
    None
}

/// Terminates a message, and removes it: what is no part of a video's life is not to fill the log.
pub(crate) async fn discard(results: &Stream, message: &Message) {
    if let Err(error) = message.ack_with(AckKind::Term).await {
        return warn!(%error, "cannot drop a result: it will come again");
    }
    let Ok(info) = message.info() else { return };
    if let Err(error) = results.delete_message(info.stream_sequence).await {
        warn!(%error, "cannot remove a dropped result from the log");
    }
}

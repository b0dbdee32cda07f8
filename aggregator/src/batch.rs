use std::time::Duration;

use async_nats::jetstream::consumer::{Consumer, StreamError, pull};
use async_nats::jetstream::{AckKind, Message};
use futures_util::StreamExt;
use moliceiro_nats::messages::{VideoEvent, from_cbor};
use tokio::time::{Instant, timeout_at};
use tracing::warn;

/// More results than this are written in several rounds.
const MOST: usize = 1000;
const HEARTBEAT: Duration = Duration::from_secs(5);
const EXPIRY: Duration = Duration::from_secs(30);

/// Results as they come, many at a time.
pub(crate) struct Batches {
    messages: pull::Stream,
    linger: Duration,
}

/// One result and the message to be acknowledged for it.
pub(crate) struct Received {
    pub(crate) event: VideoEvent,
    pub(crate) message: Message,
}

impl Batches {
    pub(crate) async fn open(consumer: &Consumer<pull::Config>, linger: Duration) -> Result<Self, StreamError> {
        let messages = consumer.stream().max_messages_per_batch(MOST).heartbeat(HEARTBEAT).expires(EXPIRY).messages().await?;
        Ok(Self { messages, linger })
    }

    /// Waits for a first result, then collects more for a while. `None` when pulling has to be begun anew.
    ///
    /// Dropping the future before it is ready loses nothing: what was not acknowledged comes again.
    pub(crate) async fn next(&mut self) -> Option<Vec<Received>> {
        let mut batch = Vec::new();
        while batch.is_empty() {
            self.receive_into(&mut batch).await?;
        }
        let deadline = Instant::now() + self.linger;
        while batch.len() < MOST {
            match timeout_at(deadline, self.receive_into(&mut batch)).await {
                Ok(Some(())) => {}
                Ok(None) | Err(_) => break,
            }
        }
        Some(batch)
    }

    async fn receive_into(&mut self, batch: &mut Vec<Received>) -> Option<()> {
        match self.messages.next().await? {
            Ok(message) => batch.extend(parse(message).await),
            // A missed heartbeat or a lost connection: the stream goes on by itself.
            Err(error) => warn!(%error, "trouble while pulling results"),
        }
        Some(())
    }
}

/// A message that is no result never will be one: it is said, and not seen again.
async fn parse(message: Message) -> Option<Received> {
    let error = match from_cbor::<VideoEvent>(&message.payload) {
        Ok(event) if message.subject.as_str() == moliceiro_nats::subjects::results(&event.video) => {
            return Some(Received { event, message });
        }
        Ok(event) => format!("a result of video {} came on the subject of another", event.video),
        Err(error) => error.to_string(),
    };
    warn!(subject = %message.subject, error, "dropping a malformed result");
    if let Err(error) = message.ack_with(AckKind::Term).await {
        warn!(%error, "cannot drop it: it will come again");
    }
    None
}

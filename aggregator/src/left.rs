//! Finds messages that ran out of deliveries and of which no advisory tells any more.
//!
//! The server says it once. If the stream of advisories has no leader at that moment, or no room,
//! nobody hears it, and the message would stay in its queue for ever, and its video unfinished.

use std::time::Duration;

use async_nats::jetstream::consumer::{Consumer, pull};
use async_nats::jetstream::stream::{LastRawMessageErrorKind, Stream};
use moliceiro_nats::{Streams, subjects};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::exhausted::{Advisory, ExhaustedError, give_up};

/// Longer than an advisory takes, and than a message takes to leave its queue when it is
/// acknowledged.
const INTERVAL: Duration = Duration::from_secs(60);

/// A queue with its consumer. What it holds up to the consumer's floor is not handed out any more.
struct Queue<'a> {
    name: &'static str,
    subject: &'static str,
    stream: &'a Stream,
    consumer: &'a Consumer<pull::Config>,
    /// The last sequence that was done with when it was last looked at.
    floor: u64,
}

/// Gives up what is left, every minute until `shutdown`.
pub(crate) async fn run(streams: &Streams, shutdown: &CancellationToken) {
    let mut queues = Queue::all(streams);
    while shutdown.run_until_cancelled(tokio::time::sleep(INTERVAL)).await.is_some() {
        for queue in &mut queues {
            if let Some(Err(error)) = shutdown.run_until_cancelled(queue.sweep(streams)).await {
                warn!(queue = queue.name, %error, "cannot look for messages that ran out of deliveries; trying again");
            }
        }
    }
}

impl<'a> Queue<'a> {
    fn all(streams: &'a Streams) -> [Self; 2] {
        let Streams { uploads, frames, ingest, detectors, .. } = streams;
        [
            Self {
                name: subjects::UPLOADS,
                subject: subjects::UPLOAD_SUBJECT,
                stream: uploads,
                consumer: ingest,
                floor: 0,
            },
            Self {
                name: subjects::FRAMES,
                subject: "frames.*",
                stream: frames,
                consumer: detectors,
                floor: 0,
            },
        ]
    }

    /// Gives up what was below the floor at the last look and is still there. The floor moves over
    /// messages that are acknowledged, which leave the queue soon, and over those that ran out of
    /// deliveries, which do not. The server moves it with an acknowledgement only, so where nothing
    /// is in hand, the last message that was handed out is the floor.
    async fn sweep(&mut self, streams: &Streams) -> Result<(), ExhaustedError> {
        let server = |error: &dyn std::fmt::Display| ExhaustedError::Server(error.to_string());
        let info = self.consumer.get_info().await.map_err(|e| server(&e))?;
        let reached = if info.num_ack_pending == 0 { info.delivered } else { info.ack_floor };
        let floor = std::mem::replace(&mut self.floor, reached.stream_sequence);
        let deliveries = u64::try_from(info.config.max_deliver).unwrap_or(0);
        let mut next = self.stream.get_info().await.map_err(|e| server(&e))?.state.first_sequence;
        while next <= floor {
            let message =
                match self.stream.get_first_raw_message_by_subject(self.subject, next).await {
                    Ok(message) if message.sequence <= floor => message,
                    Ok(_) => return Ok(()),
                    Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => {
                        return Ok(());
                    }
                    Err(error) => return Err(server(&error)),
                };
            next = message.sequence + 1;
            warn!(
                queue = self.name,
                sequence = message.sequence,
                "a message ran out of deliveries, and no advisory told of it"
            );
            give_up(
                streams,
                &Advisory { stream: self.name.into(), stream_seq: message.sequence, deliveries },
            )
            .await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

    use std::time::Instant;

    use bytes::Bytes;
    use futures_util::StreamExt;
    use moliceiro_nats::StreamsSettings;
    use moliceiro_nats::messages::{Event, VideoEvent, from_cbor};
    use moliceiro_testing::HANG_GUARD;
    use moliceiro_testing::server::Server;

    use super::*;

    /// Of two frames one is acknowledged, and one runs out of deliveries; a third is not handed
    /// out.
    #[tokio::test]
    async fn a_frame_whose_advisory_is_lost_fails_anyway() {
        let server = Server::start();
        let client = server.client().await;
        let ack_wait = Duration::from_millis(200);
        let settings = StreamsSettings {
            frame_max_deliver: 1,
            frame_ack_wait: ack_wait,
            ..StreamsSettings::default()
        };
        let streams = Streams::open(client, &settings, 16).await.unwrap();
        let frame = async |index| {
            streams
                .publisher
                .publish("frames.a-1", &format!("a-1/{index}"), Bytes::from_static(b"frame"))
                .await
                .unwrap();
        };
        frame(0).await;
        frame(1).await;
        let mut handed_out = streams.detectors.fetch().max_messages(2).messages().await.unwrap();
        handed_out.next().await.unwrap().unwrap().double_ack().await.unwrap();
        handed_out.next().await.unwrap().unwrap();

        let mut queue = Queue::all(&streams).into_iter().nth(1).unwrap();
        let deadline = Instant::now() + HANG_GUARD;
        while streams.frames.get_info().await.unwrap().state.messages > 0 {
            assert!(Instant::now() < deadline, "the frame is still in the queue");
            // The server looks at what ran out of time only for somebody who asks for more.
            let mut more = streams
                .detectors
                .batch()
                .max_messages(1)
                .expires(ack_wait)
                .messages()
                .await
                .unwrap();
            assert!(more.next().await.is_none());
            queue.sweep(&streams).await.unwrap();
        }
        let message =
            streams.results.get_first_raw_message_by_subject("results.a-1", 1).await.unwrap();
        let event = from_cbor::<VideoEvent>(&message.payload).unwrap().event;
        assert!(matches!(event, Event::Failed(failed) if failed.index == 1));
        assert_eq!(streams.results.get_info().await.unwrap().state.messages, 1);
        frame(2).await;
        for _ in 0..2 {
            queue.sweep(&streams).await.unwrap();
        }
        assert_eq!(
            streams.frames.get_info().await.unwrap().state.messages,
            1,
            "what waits to be handed out stays"
        );
    }
}

//! Finds messages that ran out of deliveries and whose advisory was lost.
//!
//! The server publishes an advisory once. If the stream of advisories is full or has no leader
//! then, the advisory is lost. Without this search, the message would stay in its queue forever,
//! and its video unfinished.

use std::collections::HashMap;
use std::fmt::Display;
use std::time::Duration;

use async_nats::jetstream::stream::{LastRawMessageErrorKind, Stream};
use moliceiro_nats::{Streams, StreamsError, subjects};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::max_deliveries::{Advisory, GiveUpError, give_up};
use crate::metrics::Metrics;

/// Longer than an advisory needs to arrive, and an acknowledged message to leave its queue.
const INTERVAL: Duration = Duration::from_secs(60);

/// A queue with one of its consumers. What that delivers, up to its floor, is not delivered again.
struct Queue<'a> {
    name: &'static str,
    /// Subjects that the consumer delivers.
    subject: String,
    stream: &'a Stream,
    consumer: String,
}

/// The floor of each consumer at the last sweep.
type Floors = HashMap<String, u64>;

/// Gives orphans up, every minute until `shutdown`.
pub(crate) async fn run(streams: &Streams, metrics: &Metrics, shutdown: &CancellationToken) {
    let mut floors = Floors::new();
    while shutdown.run_until_cancelled(tokio::time::sleep(INTERVAL)).await.is_some() {
        shutdown.run_until_cancelled(sweep(streams, metrics, &mut floors)).await;
    }
}

async fn sweep(streams: &Streams, metrics: &Metrics, floors: &mut Floors) {
    let warn_of = |queue: &str, error: &dyn Display| {
        warn!(
            queue,
            %error, "cannot search for messages that ran out of deliveries; retrying"
        );
    };
    let queues = match Queue::all(streams).await {
        Ok(queues) => queues,
        Err(error) => return warn_of(subjects::FRAMES, &error),
    };
    floors.retain(|consumer, _| queues.iter().any(|queue| queue.consumer == *consumer));
    for queue in queues {
        if let Err(error) = queue.sweep(streams, metrics, floors).await {
            warn_of(queue.name, &error);
        }
    }
}

impl<'a> Queue<'a> {
    async fn all(streams: &'a Streams) -> Result<Vec<Self>, StreamsError> {
        let uploads = Self {
            name: subjects::UPLOADS,
            subject: subjects::UPLOAD_SUBJECT.to_owned(),
            stream: &streams.uploads,
            consumer: subjects::INGEST_CONSUMER.to_owned(),
        };
        let detectors = streams.all_detectors().await?;
        let frames = detectors.into_iter().map(|of| Self {
            name: subjects::FRAMES,
            subject: subjects::frames_for(&of.model),
            stream: &streams.frames,
            consumer: of.info.name,
        });
        Ok([uploads].into_iter().chain(frames).collect())
    }

    /// Gives up what was below the floor at the last sweep and is still in the queue. The floor
    /// passes messages that are acknowledged, which leave the queue soon, and those that ran out of
    /// deliveries, which do not. The server moves it only with an acknowledgement, so if nothing is
    /// in flight, the last delivered message is the floor.
    async fn sweep(
        &self,
        streams: &Streams,
        metrics: &Metrics,
        floors: &mut Floors,
    ) -> Result<(), GiveUpError> {
        let info = self.stream.consumer_info(&self.consumer).await;
        let info = info.map_err(GiveUpError::server)?;
        let reached = if info.num_ack_pending == 0 { info.delivered } else { info.ack_floor };
        let earlier = floors.insert(self.consumer.clone(), reached.stream_sequence);
        let floor = earlier.unwrap_or(0);
        let deliveries = u64::try_from(info.config.max_deliver).unwrap_or(0);
        let stream = self.stream.get_info().await.map_err(GiveUpError::server)?;
        let mut next = stream.state.first_sequence;
        while next <= floor {
            let message =
                match self.stream.get_first_raw_message_by_subject(&self.subject, next).await {
                    Ok(message) if message.sequence <= floor => message,
                    Ok(_) => return Ok(()),
                    Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => {
                        return Ok(());
                    }
                    Err(error) => return Err(GiveUpError::server(error)),
                };
            next = message.sequence + 1;
            warn!(
                queue = self.name,
                sequence = message.sequence,
                "a message ran out of deliveries, and its advisory was lost"
            );
            let stream = self.name.into();
            let advisory = Advisory { stream, stream_seq: message.sequence, deliveries };
            give_up(streams, metrics, &advisory).await?;
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
    use moliceiro_nats::messages::{Event, ModelId, VideoEvent, from_cbor};
    use moliceiro_service::metrics::Catalogue;
    use moliceiro_testing::HANG_GUARD;
    use moliceiro_testing::server::Server;

    use super::*;

    /// Of two frames one is acknowledged, and one runs out of deliveries; a third is not delivered.
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
                .publish(
                    "frames.nanodet.a-1",
                    &format!("a-1/{index}"),
                    Bytes::from_static(b"frame"),
                )
                .await
                .unwrap();
        };
        frame(0).await;
        frame(1).await;
        let detectors = streams.detectors(&ModelId::default()).await.unwrap();
        let mut delivered = detectors.fetch().max_messages(2).messages().await.unwrap();
        delivered.next().await.unwrap().unwrap().double_ack().await.unwrap();
        delivered.next().await.unwrap().unwrap();

        let metrics = Metrics::new(&mut Catalogue::default());
        let mut floors = Floors::new();
        let deadline = Instant::now() + HANG_GUARD;
        while streams.frames.get_info().await.unwrap().state.messages > 0 {
            assert!(Instant::now() < deadline, "the frame is still in the queue");
            // The server finds expired deliveries only when a client pulls more.
            let mut more =
                detectors.batch().max_messages(1).expires(ack_wait).messages().await.unwrap();
            assert!(more.next().await.is_none());
            sweep(&streams, &metrics, &mut floors).await;
        }
        let message =
            streams.results.get_first_raw_message_by_subject("detections.a-1", 1).await.unwrap();
        let event = from_cbor::<VideoEvent>(&message.payload).unwrap().event;
        assert!(matches!(event, Event::Failed(failed) if failed.index == 1));
        assert_eq!(streams.results.get_info().await.unwrap().state.messages, 1);
        frame(2).await;
        for _ in 0..2 {
            sweep(&streams, &metrics, &mut floors).await;
        }
        assert_eq!(
            streams.frames.get_info().await.unwrap().state.messages,
            1,
            "a frame that was never delivered stays"
        );
    }
}

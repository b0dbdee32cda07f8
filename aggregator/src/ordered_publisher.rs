//! Publishes alarms and finished tracks: each is stored once, and in order.

use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::Stream;
use moliceiro_nats::messages::{Alarm, Versioned, VideoTrack, from_json, to_json};
use moliceiro_nats::publish::{Batch, StoreError};
use moliceiro_nats::{Streams, VideoId, subjects};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tracing::debug;

use crate::metrics::Metrics;
use crate::publication::{PublicationError, last_message};

/// What is numbered from 1 within its video, on a subject of that video.
trait Numbered: Serialize + DeserializeOwned + Versioned {
    fn number(&self) -> u64;
    fn subject(video: &VideoId) -> String;
    fn message_id(&self, video: &VideoId) -> String;
    fn stream(streams: &Streams) -> &Stream;
}

impl Numbered for Alarm {
    fn number(&self) -> u64 {
        self.number
    }

    fn subject(video: &VideoId) -> String {
        subjects::alarms(video)
    }

    fn message_id(&self, video: &VideoId) -> String {
        subjects::alarm_message_id(video, self.number)
    }

    fn stream(streams: &Streams) -> &Stream {
        &streams.summaries
    }
}

impl Numbered for VideoTrack {
    fn number(&self) -> u64 {
        self.track.number
    }

    fn subject(video: &VideoId) -> String {
        subjects::tracks(video)
    }

    fn message_id(&self, video: &VideoId) -> String {
        subjects::track_message_id(video, self.track.number)
    }

    fn stream(streams: &Streams) -> &Stream {
        &streams.tracks
    }
}

/// The last message on a video's subject: its number and its sequence in the stream; 0, 0 if there
/// is none.
struct Last {
    number: u64,
    sequence: u64,
}

impl Last {
    async fn of<T: Numbered>(streams: &Streams, subject: &str) -> Result<Self, PublicationError> {
        let last = last_message(T::stream(streams), subject).await?.map(|message| Self {
            number: from_json::<T>(&message.payload).map_or(0, |item| item.number()),
            sequence: message.sequence,
        });
        Ok(last.unwrap_or(Self { number: 0, sequence: 0 }))
    }
}

/// Publishes those alarms of one video that are not stored yet, and calls `on_alarm` with them.
pub(crate) async fn publish_alarms(
    streams: &Streams,
    metrics: &Metrics,
    video: &VideoId,
    alarms: &[Alarm],
    on_alarm: &mut impl FnMut(&Alarm),
) -> Result<(), PublicationError> {
    let stored = |alarm: &Alarm| {
        metrics.alarm(alarm);
        on_alarm(alarm);
    };
    publish(streams, video, alarms, stored).await
}

/// Publishes those finished tracks of one video that are not stored yet.
pub(crate) async fn publish_tracks(
    streams: &Streams,
    metrics: &Metrics,
    video: &VideoId,
    tracks: &[VideoTrack],
) -> Result<(), PublicationError> {
    publish(streams, video, tracks, |track| metrics.track(track)).await
}

async fn publish<T: Numbered>(
    streams: &Streams,
    video: &VideoId,
    items: &[T],
    mut on_stored: impl FnMut(&T),
) -> Result<(), PublicationError> {
    if items.is_empty() {
        return Ok(());
    }
    let subject = T::subject(video);
    let mut last = Last::of::<T>(streams, &subject).await?;
    let items = &items[items.partition_point(|item| item.number() <= last.number)..];
    if publish_at_once(streams, video, items, &last).await {
        items.iter().for_each(on_stored);
        return Ok(());
    }
    for item in items {
        while last.number < item.number() {
            let message = PublishMessage::build()
                .message_id(item.message_id(video))
                .expected_last_subject_sequence(last.sequence)
                .payload(to_json(item).into());
            match streams.publisher.publish_message(&subject, message).await {
                Ok(ack) => {
                    on_stored(item);
                    last = Last { number: item.number(), sequence: ack.sequence };
                }
                Err(StoreError::NotFirst { .. }) => last = Last::of::<T>(streams, &subject).await?,
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(())
}

/// True if one batch stored all of them. If not, another aggregator may have stored some, or the
/// server may not know batches.
async fn publish_at_once<T: Numbered>(
    streams: &Streams,
    video: &VideoId,
    items: &[T],
    last: &Last,
) -> bool {
    if items.len() < 2 || !T::stream(streams).cached_info().config.allow_atomic_publish {
        return false;
    }
    let of = |item: &T| (item.message_id(video), to_json(item).into());
    let messages = items.iter().map(of).collect();
    let batch = Batch { subject: &T::subject(video), after: last.sequence, messages };
    match streams.publisher.publish_batch(batch).await {
        Ok(_) => true,
        Err(error) => {
            debug!(%video, %error, "a batch is not stored: publishing one message after the other");
            false
        }
    }
}

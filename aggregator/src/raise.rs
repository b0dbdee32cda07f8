//! Publishing alarms: each is stored once, and in order.

use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::LastRawMessageErrorKind;
use moliceiro_nats::messages::{Alarm, from_json, to_json};
use moliceiro_nats::publish::StoreError;
use moliceiro_nats::{Streams, VideoId, subjects};
use thiserror::Error;

use crate::report;

#[derive(Debug, Error)]
pub(crate) enum RaiseError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the alarms that are published cannot be read: {0}")]
    OutOfReach(String),
}

/// The alarm that a video's subject holds last: its number, and its sequence in the stream. None is
/// 0, 0.
struct Last {
    number: u64,
    sequence: u64,
}

impl Last {
    async fn of(streams: &Streams, video: &VideoId) -> Result<Self, RaiseError> {
        match streams.summaries.get_last_raw_message_by_subject(&subjects::alarms(video)).await {
            Ok(message) => {
                let number = from_json::<Alarm>(&message.payload).map_or(0, |alarm| alarm.number);
                Ok(Self { number, sequence: message.sequence })
            }
            Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => {
                Ok(Self { number: 0, sequence: 0 })
            }
            Err(error) => Err(RaiseError::OutOfReach(error.to_string())),
        }
    }
}

/// Publishes alarms of one video that nobody has published yet, and tells `on_alarm` of those.
///
/// An aggregator that was killed, or another at the same time, may have published some: the
/// condition that the one before is the last on the subject keeps them single and in order.
pub(crate) async fn publish_alarms(
    streams: &Streams,
    video: &VideoId,
    alarms: &[Alarm],
    mut on_alarm: impl FnMut(&Alarm),
) -> Result<(), RaiseError> {
    if alarms.is_empty() {
        return Ok(());
    }
    let subject = subjects::alarms(video);
    let mut last = Last::of(streams, video).await?;
    for alarm in alarms {
        while last.number < alarm.number {
            let message = PublishMessage::build()
                .message_id(subjects::alarm_message_id(video, alarm.number))
                .expected_last_subject_sequence(last.sequence)
                .payload(to_json(alarm).into());
            match streams.publisher.publish_message(&subject, message).await {
                Ok(ack) => {
                    report::alarm(alarm);
                    on_alarm(alarm);
                    last = Last { number: alarm.number, sequence: ack.sequence };
                }
                Err(StoreError::NotFirst { .. }) => last = Last::of(streams, video).await?,
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(())
}

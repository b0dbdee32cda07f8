//! Publishes alarms: each is stored once, and in order.

use async_nats::jetstream::message::PublishMessage;
use moliceiro_nats::messages::{Alarm, from_json, to_json};
use moliceiro_nats::publish::StoreError;
use moliceiro_nats::{Streams, VideoId, subjects};

use crate::metrics::Metrics;
use crate::publication::{PublicationError, last_message};

/// The last alarm on a video's subject: its number and its sequence in the stream; 0, 0 if there is
/// none.
struct Last {
    number: u64,
    sequence: u64,
}

impl Last {
    async fn on(streams: &Streams, subject: &str) -> Result<Self, PublicationError> {
        let last = last_message(streams, subject).await?.map(|message| Self {
            number: from_json::<Alarm>(&message.payload).map_or(0, |alarm| alarm.number),
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
    mut on_alarm: impl FnMut(&Alarm),
) -> Result<(), PublicationError> {
    if alarms.is_empty() {
        return Ok(());
    }
    let subject = subjects::alarms(video);
    let mut last = Last::on(streams, &subject).await?;
    for alarm in alarms {
        while last.number < alarm.number {
            let message = PublishMessage::build()
                .message_id(subjects::alarm_message_id(video, alarm.number))
                .expected_last_subject_sequence(last.sequence)
                .payload(to_json(alarm).into());
            match streams.publisher.publish_message(&subject, message).await {
                Ok(ack) => {
                    metrics.alarm(alarm);
                    on_alarm(alarm);
                    last = Last { number: alarm.number, sequence: ack.sequence };
                }
                Err(StoreError::NotFirst { .. }) => last = Last::on(streams, &subject).await?,
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(())
}

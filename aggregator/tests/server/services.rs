//! An ingest and detectors that follow the contract without decoding or inference.

use std::time::Duration;

use async_nats::jetstream::Message;
use futures_util::StreamExt;
use moliceiro_nats::dead::FrameIdentity;
use moliceiro_nats::messages::{
    Detection, Ended, Event, FrameResult, ModelId, Progress, Upload, VideoEvent, VideoState,
    to_cbor,
};
use moliceiro_nats::{Streams, VideoId, subjects};
use tokio::task::JoinHandle;

const PULL: Duration = Duration::from_millis(200);
const PAUSE: Duration = Duration::from_millis(50);

/// A task that ends with this value.
pub struct Service(JoinHandle<()>);

impl Drop for Service {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Every third frame has a person.
pub fn persons(frames: u64) -> u64 {
    frames.div_ceil(3)
}

/// Every source has so many frames, each of which takes `pace` to decode.
pub fn ingest(streams: &Streams, frames: u64, pace: Duration) -> Service {
    let streams = streams.clone();
    Service(tokio::spawn(async move {
        loop {
            let pulled = streams.ingest.batch().max_messages(1).expires(PULL).messages().await;
            let Ok(mut messages) = pulled else {
                tokio::time::sleep(PAUSE).await;
                continue;
            };
            while let Some(Ok(message)) = messages.next().await {
                decode(&streams, &message, frames, pace).await;
                message.ack().await.ok();
            }
        }
    }))
}

async fn decode(streams: &Streams, message: &Message, frames: u64, pace: Duration) {
    let Ok(upload) = Upload::parse(&message.payload) else { return };
    let video = upload.id.clone().unwrap();
    let entry = streams.videos().entry(&video).await.ok().flatten();
    if entry.as_ref().is_some_and(|entry| entry.state.is_final()) {
        return;
    }
    streams.detectors(&ModelId::default()).await.ok();
    let repair = upload.repair.clone();
    let token = repair.as_ref().map_or_else(String::new, |repair| format!("/{}", repair.token()));
    let publish = async |event: Event, id: &str| {
        let id = format!("{}{token}", subjects::event_message_id(&video, id));
        streams.publisher.publish_event(&video, Some(&id), event).await.unwrap();
    };
    let is_ended = entry.as_ref().is_some_and(|entry| entry.ended.is_some());
    let again = repair.filter(|repair| is_ended && !repair.frames.is_empty());
    if is_ended && again.is_none() {
        return;
    }
    let first = entry.as_ref().map_or(0, |entry| entry.published);
    if again.is_none() {
        publish(Event::Started(upload.started(std::time::UNIX_EPOCH, 1)), "started").await;
    }
    for index in 0..frames {
        message.ack_with(async_nats::jetstream::AckKind::Progress).await.ok();
        if again.as_ref().map_or(index < first, |repair| !repair.names(index)) {
            continue;
        }
        tokio::time::sleep(pace).await;
        let id = format!("{}{token}", subjects::frame_message_id(&video, index));
        let subject = subjects::frames(&ModelId::default(), &video);
        streams.publisher.publish(&subject, &id, vec![7; 2_000].into()).await.unwrap();
        if again.is_none() && index.is_multiple_of(5) {
            let progress = Progress { published: index + 1, frames: None, announced: None };
            streams.publisher.publish_event(&video, None, Event::Progress(progress)).await.unwrap();
        }
    }
    if again.is_none() {
        let (duration, problem) = (None, None);
        let ended =
            Ended { frames, decoded: frames, duration, problem, notices: vec![], skipped: None };
        publish(Event::Ended(ended), "ended").await;
    }
}

/// Analyses each frame in `pace`.
pub fn detector(streams: &Streams, pace: Duration) -> Service {
    let streams = streams.clone();
    Service(tokio::spawn(async move {
        loop {
            let model = ModelId::default();
            let Ok(consumer) =
                streams.frames.get_consumer(&subjects::detectors_consumer(&model)).await
            else {
                tokio::time::sleep(PAUSE).await;
                continue;
            };
            let consumer: async_nats::jetstream::consumer::PullConsumer = consumer;
            let Ok(mut messages) = consumer.batch().max_messages(2).expires(PULL).messages().await
            else {
                tokio::time::sleep(PAUSE).await;
                continue;
            };
            while let Some(Ok(message)) = messages.next().await {
                analyse(&streams, &message, pace).await;
            }
        }
    }))
}

async fn analyse(streams: &Streams, message: &Message, pace: Duration) {
    let Some(frame) = FrameIdentity::of(&message.subject, message.headers.as_ref()) else { return };
    tokio::time::sleep(pace).await;
    let person = Detection { label: "person".into(), score: 0.5, bounds: [0.0, 0.0, 1.0, 1.0] };
    let found = if frame.index.is_multiple_of(3) { vec![person] } else { vec![] };
    let result = FrameResult {
        index: frame.index,
        pts: None,
        decoded_at: None,
        objects: found.try_into().unwrap(),
        size: None,
        processing_us: 1000,
        detector: "test".into(),
        model: None,
    };
    let event = VideoEvent::new(frame.video.clone(), Event::Frame(result));
    let (subject, payload) = (subjects::results(&frame.video), to_cbor(&event, 64).into());
    streams.publisher.publish(&subject, &frame.message_id, payload).await.unwrap();
    message.ack().await.ok();
}

pub async fn upload(streams: &Streams, video: &VideoId) {
    let upload = Upload { id: Some(video.clone()), ..Upload::of("file:///a.mp4".parse().unwrap()) };
    let payload = moliceiro_nats::messages::to_json(&upload).into();
    let id = format!("upload/{video}");
    streams.publisher.publish(subjects::UPLOAD_SUBJECT, &id, payload).await.unwrap();
}

/// What a summary must be, whatever was lost.
pub fn assert_whole(summary: &moliceiro_nats::messages::Summary, frames: u64) {
    assert_eq!(
        (summary.state, summary.processed_frames, summary.failed_frames, summary.count("person")),
        (VideoState::Done, frames, 0, persons(frames)),
        "{summary:?}"
    );
}

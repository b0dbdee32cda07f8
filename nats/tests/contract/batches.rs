//! Messages that are stored together.

use async_nats::jetstream::consumer::pull::OrderedConfig;
use async_nats::jetstream::stream::Config;
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use moliceiro_nats::publish::Batch;
use moliceiro_nats::{Streams, StreamsSettings, VideoId, subjects};
use moliceiro_testing::server::Server;

async fn open(server: &Server) -> Streams {
    Streams::open(server.client().await, &StreamsSettings::default(), 16).await.unwrap()
}

fn messages(numbers: std::ops::Range<u64>, video: &VideoId) -> Vec<(String, Bytes)> {
    let of = |n: u64| (subjects::track_message_id(video, n), n.to_string().into());
    numbers.map(of).collect()
}

async fn stored(streams: &Streams) -> Vec<Bytes> {
    let pending = streams.tracks.get_info().await.unwrap().state.messages;
    let consumer = streams.tracks.create_consumer(OrderedConfig::default()).await.unwrap();
    let messages = consumer.messages().await.unwrap().map_ok(|message| message.payload.clone());
    let count = usize::try_from(pending).unwrap();
    messages.take(count).try_collect().await.unwrap()
}

#[tokio::test]
async fn a_batch_is_stored_whole_and_in_order_or_not_at_all() {
    let server = Server::start();
    let streams = open(&server).await;
    let video = VideoId::for_name("a", "1");
    let subject = subjects::tracks(&video);
    let first = Batch { subject: &subject, after: 0, messages: messages(1..101, &video) };
    let ack = streams.publisher.publish_batch(first).await.unwrap();
    assert_eq!((ack.sequence, ack.batch_size), (100, Some(100)));

    let late = Batch { subject: &subject, after: 99, messages: messages(101..103, &video) };
    streams.publisher.publish_batch(late).await.unwrap_err();
    let none = Batch { subject: &subject, after: 100, messages: vec![] };
    streams.publisher.publish_batch(none).await.unwrap_err();
    let again = Batch { subject: &subject, after: 100, messages: messages(100..103, &video) };
    streams.publisher.publish_batch(again).await.unwrap_err();
    let last = Batch { subject: &subject, after: 100, messages: messages(101..102, &video) };
    streams.publisher.publish_batch(last).await.unwrap();

    let all: Vec<Bytes> = (1..=101_u64).map(|n| n.to_string().into()).collect();
    assert_eq!(stored(&streams).await, all);
    assert_eq!(streams.publisher.statistics().stored, 101);
}

#[tokio::test]
async fn the_tracks_of_the_release_before_are_kept_and_get_batches() {
    let server = Server::start();
    let streams = open(&server).await;
    let old = streams.tracks.cached_info().config.clone();
    assert!(old.allow_atomic_publish);
    let old = Config { allow_atomic_publish: false, max_bytes: 5 << 20, ..old };
    streams.jetstream.update_stream(&old).await.unwrap();
    let video = VideoId::for_name("a", "1");
    let (id, payload) = messages(1..2, &video).remove(0);
    streams.publisher.publish(&subjects::tracks(&video), &id, payload).await.unwrap();

    let streams = open(&server).await;
    let config = &streams.tracks.cached_info().config;
    assert!(config.allow_atomic_publish);
    assert_eq!(config.max_bytes, 5 << 20, "an operator's limit");
    let subject = subjects::tracks(&video);
    let next = Batch { subject: &subject, after: 1, messages: messages(2..4, &video) };
    assert_eq!(streams.publisher.publish_batch(next).await.unwrap().sequence, 3);
}

//! Aggregators on a real server, with messages that no ingest or detector would send.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod damage;
mod memory;
mod repair;
mod services;
mod site;
mod tracks;

use std::time::Duration;

use futures_util::{StreamExt, stream};
use moliceiro_nats::messages::{Alarm, Upload, VideoState, from_json, to_json};
use moliceiro_nats::{StreamsSettings, subjects};

use moliceiro_testing::HANG_GUARD;
use moliceiro_testing::events::{ended, frame, progress, started, video};

use site::Site;

/// More results than the server used to deliver unacknowledged.
#[tokio::test]
async fn a_video_that_cannot_be_counted_does_not_block_the_others() {
    const RESULTS: u64 = 4_200;
    let site = Site::start().await;
    let (broken, whole) = (video("broken"), video("whole"));
    let bucket = site.streams.jetstream.get_key_value(subjects::VIDEOS_BUCKET).await.unwrap();
    bucket.put(broken.as_str(), "no entry".into()).await.unwrap();
    stream::iter(0..RESULTS)
        .for_each_concurrent(16, |index| site.store(&broken, frame(index, &[])))
        .await;
    site.store(&whole, started()).await;
    site.store(&whole, frame(0, &["person"])).await;
    site.store(&whole, ended(1)).await;

    let aggregator = site.aggregator();
    assert_eq!(site.summary(&whole).await.processed_frames, 1);
    aggregator.stop().await;
    assert_eq!(site.streams.results.get_info().await.unwrap().state.messages, RESULTS + 3);
}

/// The first frame is counted last, so all alarms are published at once.
#[tokio::test]
async fn many_alarms_at_once_are_all_published_in_order_before_the_summary() {
    const FRAMES: u64 = 700;
    let site = Site::start().await;
    let video = video("crowded");
    let crowd = ["person"; 11];
    site.store(&video, started()).await;
    stream::iter(1..FRAMES)
        .for_each_concurrent(16, |index| site.store(&video, frame(index, &crowd)))
        .await;
    site.store(&video, ended(FRAMES)).await;
    site.store(&video, frame(0, &crowd)).await;

    let aggregator = site.aggregator();
    assert_eq!(site.summary(&video).await.alarms, FRAMES);
    aggregator.stop().await;
    let published = site.streams.summaries.get_info().await.unwrap().state;
    assert_eq!(published.messages, FRAMES + 1);
    for sequence in [1, 350, FRAMES] {
        let message = site.streams.summaries.get_raw_message(sequence).await.unwrap();
        assert_eq!(message.subject.as_str(), subjects::alarms(&video));
        let alarm: Alarm = from_json(&message.payload).unwrap();
        assert_eq!((alarm.number, alarm.frame), (sequence, sequence - 1));
    }
}

/// Ingests are interrupted repeatedly: first while they make progress, then without any.
#[tokio::test]
async fn a_video_is_given_up_only_when_its_ingests_make_no_progress() {
    let settings = StreamsSettings {
        upload_max_deliver: 1,
        upload_ack_wait: Duration::from_millis(200),
        ..StreamsSettings::default()
    };
    let site = Site::start_with(settings).await;
    let video = video("long");
    let upload =
        Upload { id: Some(video.clone()), ..Upload::of("file:///long.mp4".parse().unwrap()) };
    site.streams
        .publisher
        .publish(subjects::UPLOAD_SUBJECT, "long", to_json(&upload).into())
        .await
        .unwrap();
    let aggregator = site.aggregator();
    // The server redelivers what timed out only when a client pulls.
    let pull = async || {
        site.streams.ingest.batch().max_messages(1).expires(HANG_GUARD).messages().await.unwrap()
    };
    let interrupted = async || {
        let message = pull().await.next().await.unwrap().unwrap();
        assert_eq!(Upload::parse(&message.payload).unwrap().id.as_ref(), Some(&video));
    };
    site.store(&video, started()).await;
    interrupted().await;
    for published in [3, 5] {
        site.store(&video, progress(published)).await;
        site.entry_where(&video, |entry| entry.published == published).await;
        interrupted().await;
    }
    for index in 0..5 {
        site.store(&video, frame(index, &[])).await;
    }
    let _waiting = pull().await;
    let summary = site.summary(&video).await;
    assert_eq!((summary.state, summary.processed_frames), (VideoState::Incomplete, 5));
    aggregator.stop().await;
}

//! A video that nobody wants any more leaves the queues, and says so.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod support;

use std::time::{Duration, Instant};

use async_nats::jetstream::{self, stream::Stream};
use moliceiro_nats::VideoId;
use moliceiro_nats::messages::{Cancelled, Event, Upload, VideoEntry, VideoState, from_json};
use moliceiro_nats::publish::Publisher;
use serde_json::json;
use support::site::{FRAMES, Site, VIDEO};
use support::{LONG, Server, sample};
use tokio::time::{sleep, timeout};
use url::Url;

async fn say(site: &Site, video: &VideoId, event: Event) {
    let publisher = Publisher::new(jetstream::new(site.client().await));
    publisher.publish_event(video, None, event).await.unwrap();
}

async fn cancel(site: &Site, video: &VideoId) {
    say(site, video, Event::Cancelled(Cancelled { reason: "no longer wanted".into() })).await;
}

async fn stream(site: &Site, name: &str) -> Stream {
    jetstream::new(site.client().await).get_stream(name).await.unwrap()
}

async fn wait_until_empty(stream: &Stream) {
    let empty = async {
        while stream.get_info().await.unwrap().state.messages > 0 {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(LONG, empty).await.unwrap();
}

async fn wait_for_state(site: &Site, video: &VideoId, state: VideoState) -> VideoEntry {
    let videos = jetstream::new(site.client().await).get_key_value("videos").await.unwrap();
    let reached = async {
        loop {
            let entry = videos
                .get(video.as_str())
                .await
                .unwrap()
                .map(|entry| from_json::<VideoEntry>(&entry).unwrap());
            match entry {
                Some(entry) if entry.state == state => return entry,
                _ => sleep(Duration::from_millis(20)).await,
            }
        }
    };
    timeout(LONG, reached).await.unwrap()
}

fn upload(id: &VideoId) -> serde_json::Value {
    json!({"uri": Url::from_file_path(sample(VIDEO)).unwrap(), "id": id})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_video_cancelled_in_the_middle_stops_being_decoded_and_counted() {
    let server = Server::start();
    // A short queue keeps the ingest in the middle of the video.
    let site = Site::new(server.url(), &["--set", "streams.frames_max_per_video=8"]);
    let [_aggregator, detector, ingest] =
        ["aggregator", "detector", "ingest"].map(|service| site.ready(service));
    let video = VideoId::for_name("unwanted", "1");
    site.upload_json(&upload(&video)).await;
    detector.wait_for_stderr("frame done", 20);
    let asked = Instant::now();
    cancel(&site, &video).await;
    let summary = site.summaries(1).await.remove(0);
    assert_eq!((summary.video.clone(), summary.state), (video.clone(), VideoState::Cancelled));
    assert_eq!(summary.problem.as_deref(), Some("no longer wanted"));
    ingest.wait_for_stderr("the video is cancelled", 1);
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    wait_until_empty(&stream(&site, "UPLOADS").await).await;
    wait_until_empty(&stream(&site, "FRAMES").await).await;

    // What was in the detector's hands changes nothing, and others are counted as ever.
    site.upload(VIDEO).await;
    let both = site.summaries(2).await;
    assert_eq!((both[1].state, both[1].processed_frames), (VideoState::Done, FRAMES));
    let entry = wait_for_state(&site, &video, VideoState::Cancelled).await;
    assert_eq!(entry.summary.as_ref(), Some(&summary));
    assert!(
        summary.processed_frames < FRAMES && entry.counted == summary.processed_frames,
        "{entry:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_video_that_waits_is_known_and_can_be_cancelled_before_anybody_decodes_it() {
    let server = Server::start();
    let site = Site::new(server.url(), &[]);
    let _aggregator = site.ready("aggregator");
    let [kept, unwanted] = ["kept", "unwanted"].map(|name| VideoId::for_name(name, "1"));
    for video in [&kept, &unwanted] {
        site.upload_json(&upload(video)).await;
        let queued = Upload::of(Url::from_file_path(sample(VIDEO)).unwrap())
            .started(std::time::SystemTime::now(), 7);
        say(&site, video, Event::Queued(queued)).await;
        let entry = wait_for_state(&site, video, VideoState::Queued).await;
        assert_eq!(entry.started.selection.every, 7);
    }
    cancel(&site, &unwanted).await;
    wait_for_state(&site, &unwanted, VideoState::Cancelled).await;
    let ingest = site.start_with("ingest", &["--set", "ingest.every=40"]);
    ingest.wait_for_stderr("the video is cancelled", 1);
    let _detector = site.ready("detector");
    let counted = site.summaries(2).await;
    assert_eq!(
        (&counted[0].video, counted[0].state, counted[0].processed_frames),
        (&unwanted, VideoState::Cancelled, 0)
    );
    assert_eq!((&counted[1].video, counted[1].state), (&kept, VideoState::Done));
    assert_eq!(counted[1].processed_frames, FRAMES / 40, "as the ingest that took it up was set");
    wait_until_empty(&stream(&site, "UPLOADS").await).await;
    let decoding = ingest
        .stderr()
        .iter()
        .filter(|line| line.contains("decoding"))
        .cloned()
        .collect::<Vec<_>>();
    assert!(!decoding.iter().any(|line| line.contains("unwanted")), "{decoding:#?}");
}

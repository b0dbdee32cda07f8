//! A cancelled video leaves the queues, and is shown as cancelled.

use async_nats::jetstream::stream::Stream;
use moliceiro_nats::VideoId;
use moliceiro_nats::messages::{Cancelled, Event, Upload, VideoEntry, VideoState, from_json};
use moliceiro_nats::publish::Publisher;
use moliceiro_testing::deployment::{Deployment, FRAMES, VIDEO};
use moliceiro_testing::paths::sample;
use moliceiro_testing::server::Server;
use moliceiro_testing::until;
use moliceiro_testing::video::file_uri;
use serde_json::json;

async fn publish(site: &Deployment, video: &VideoId, event: Event) {
    let publisher = Publisher::new(site.jetstream().await);
    publisher.publish_event(video, None, event).await.unwrap();
}

async fn cancel(site: &Deployment, video: &VideoId) {
    publish(site, video, Event::Cancelled(Cancelled { reason: "no longer wanted".into() })).await;
}

async fn stream(site: &Deployment, name: &str) -> Stream {
    site.jetstream().await.get_stream(name).await.unwrap()
}

async fn wait_until_empty(stream: &Stream) {
    until("the stream is empty", async || {
        (stream.get_info().await.unwrap().state.messages == 0).then_some(())
    })
    .await;
}

async fn wait_for_state(site: &Deployment, video: &VideoId, state: VideoState) -> VideoEntry {
    let videos = site.jetstream().await.get_key_value("videos").await.unwrap();
    until(&format!("{video} is {state:?}"), async || {
        let entry: VideoEntry = from_json(&videos.get(video.as_str()).await.unwrap()?).unwrap();
        (entry.state == state).then_some(entry)
    })
    .await
}

fn upload(id: &VideoId) -> serde_json::Value {
    json!({"uri": file_uri(&sample(VIDEO)), "id": id})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_video_cancelled_while_decoding_is_not_decoded_or_counted_further() {
    let server = Server::start();
    // A short queue keeps the ingest decoding.
    let site = Deployment::new(server.url(), &["--set", "streams.frames_max_per_video=8"]);
    let [_aggregator, detector, ingest] =
        ["aggregator", "detector", "ingest"].map(|service| site.ready(service));
    let video = VideoId::for_name("unwanted", "1");
    site.upload_json(&upload(&video)).await;
    detector.wait_for_stderr("frame done", 20);
    cancel(&site, &video).await;
    let summary = site.summaries(1).await.remove(0);
    assert_eq!((summary.video.clone(), summary.state), (video.clone(), VideoState::Cancelled));
    assert_eq!(summary.problem.as_deref(), Some("no longer wanted"));
    ingest.wait_for_stderr("the video is cancelled", 1);
    let log = ingest.stderr();
    assert!(
        !log.iter().any(|line| line.contains("all frames are published")),
        "it was decoded to its end: {log:#?}"
    );
    wait_until_empty(&stream(&site, "UPLOADS").await).await;
    wait_until_empty(&stream(&site, "FRAMES").await).await;

    // Frames that were in flight change nothing, and other videos are counted as usual.
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
async fn a_queued_video_is_known_and_can_be_cancelled() {
    let server = Server::start();
    let site = Deployment::new(server.url(), &[]);
    let _aggregator = site.ready("aggregator");
    let [kept, unwanted] = ["kept", "unwanted"].map(|name| VideoId::for_name(name, "1"));
    for video in [&kept, &unwanted] {
        site.upload_json(&upload(video)).await;
        let queued = Upload::of(file_uri(&sample(VIDEO))).started(std::time::SystemTime::now(), 7);
        publish(&site, video, Event::Queued(queued)).await;
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
    assert_eq!(counted[1].processed_frames, FRAMES / 40, "as set for the ingest that decoded it");
    wait_until_empty(&stream(&site, "UPLOADS").await).await;
    let decoding = ingest
        .stderr()
        .iter()
        .filter(|line| line.contains("decoding"))
        .cloned()
        .collect::<Vec<_>>();
    assert!(!decoding.iter().any(|line| line.contains("unwanted")), "{decoding:#?}");
}

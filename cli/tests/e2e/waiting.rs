//! Whichever service waits for another, the summary is the one of an undisturbed run.

use std::time::Duration;

use moliceiro_nats::messages::VideoEntry;
use moliceiro_testing::deployment::{
    Deployment, FRAMES, VIDEO, counts, without_faults_of, without_faults_with,
};
use moliceiro_testing::paths::sample;
use moliceiro_testing::server::Server;
use moliceiro_testing::video::{ffmpeg, file_uri, short_video};
use rustix::process::Signal;
use serde_json::json;
use tokio::time::sleep;

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_queue_so_short_that_ingest_mostly_waits() {
    let server = Server::start();
    let site = Deployment::new(server.url(), &["--set", "streams.frames_max_per_video=1"]);
    let _all = ["aggregator", "detector", "ingest"].map(|service| site.ready(service));
    site.upload(VIDEO).await;
    site.assert_unharmed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ack_wait_shorter_than_a_frame_is_in_flight() {
    const FULL_SIZE: [&str; 4] = ["--set", "ingest.width=416", "--set", "ingest.height=416"];
    let server = Server::start();
    let settings = [&FULL_SIZE[..], &["--set", "streams.frame_ack_wait=100ms"]].concat();
    let site = Deployment::new(server.url(), &settings);
    let _all = ["aggregator", "detector", "ingest"].map(|service| site.ready(service));
    site.upload(VIDEO).await;
    site.assert_counts(&without_faults_with(&sample(VIDEO), 1, &FULL_SIZE)).await;
}

/// Pictures so large that the model needs longer for each than the server waits for an ack.
#[tokio::test(flavor = "multi_thread")]
async fn an_ack_wait_shorter_than_the_model_takes_for_a_frame() {
    const EVERY: u64 = 40;
    const LARGE: [&str; 4] = ["--set", "ingest.width=2048", "--set", "ingest.height=2048"];
    let expected = without_faults_with(&sample(VIDEO), EVERY, &LARGE);
    let server = Server::start();
    let every = format!("ingest.every={EVERY}");
    let settings =
        [&LARGE[..], &["--set", "streams.frame_ack_wait=500ms", "--set", every.as_str()]].concat();
    let site = Deployment::new(server.url(), &settings);
    let [_aggregator, detector, _ingest] =
        ["aggregator", "detector", "ingest"].map(|service| site.ready(service));
    site.upload(VIDEO).await;
    site.assert_counts(&expected).await;
    let log = detector.stderr().join("\n");
    let frames: Vec<serde_json::Value> = log
        .lines()
        .filter(|line| line.contains("frame done"))
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    // On a busy machine a progress ack may be late. Without any, each frame would be redelivered.
    assert!((frames.len() as u64) < 2 * FRAMES.div_ceil(EVERY), "{} frames", frames.len());
    let quickest =
        frames.iter().map(|frame| frame["processing_us"].as_u64().unwrap()).min().unwrap();
    assert!(quickest > 500_000, "a frame took {quickest} µs only");
}

/// A few raw frames fill it.
#[tokio::test(flavor = "multi_thread")]
async fn a_frame_queue_of_one_mebibyte() {
    const MOST: u64 = 1 << 20;
    const RAW: [&str; 2] = ["--set", "ingest.encoding=i420"];
    let expected = without_faults_with(&sample(VIDEO), 1, &RAW);
    let server = Server::start();
    let site = Deployment::new(
        server.url(),
        &[&RAW[..], &["--set", &format!("streams.frames_max_bytes={MOST}")]].concat(),
    );
    let [_aggregator, detector, _ingest] =
        ["aggregator", "detector", "ingest"].map(|service| site.ready(service));
    site.upload(VIDEO).await;
    let jetstream = site.jetstream().await;
    let mut longest = 0;
    for done in (1..FRAMES as usize).step_by(8) {
        detector.wait_for_stderr("frame done", done);
        longest =
            longest.max(jetstream.get_stream("FRAMES").await.unwrap().cached_info().state.bytes);
    }
    assert!((MOST / 2..=MOST).contains(&longest), "{longest} bytes");
    site.assert_counts(&expected).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn detectors_that_start_late() {
    /// Of `streams.frame_ack_wait`, as every deployment here sets it: frames would be redelivered
    /// or dropped by then, if they did not just wait.
    const ACK_WAITS: u32 = 10;
    const ACK_WAIT: Duration = Duration::from_secs(1);
    let server = Server::start();
    let site = Deployment::new(server.url(), &[]);
    let _others = ["aggregator", "ingest"].map(|service| site.ready(service));
    site.upload(VIDEO).await;
    let mut early = site.start("detector");
    early.wait_for_stderr("frame done", 20);
    early.signal(Signal::TERM);
    early.expect_code(0);
    let jetstream = site.jetstream().await;
    for _ in 0..ACK_WAITS {
        sleep(ACK_WAIT).await;
        let frames = jetstream.get_stream("FRAMES").await.unwrap().get_info().await.unwrap();
        assert!(frames.state.messages > 0, "frames wait in the queue until a detector starts");
    }
    let _late = site.start("detector");
    site.assert_unharmed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_videos_at_once_some_with_the_same_name() {
    let server = Server::start();
    let site = Deployment::new(server.url(), &["--set", "ingest.every=6"]);
    let _all = ["aggregator", "detector", "ingest"].map(|service| site.ready(service));
    for number in 0..20 {
        site.upload(if number % 4 == 0 { "same name" } else { VIDEO }).await;
    }
    let found = site.summaries(20).await;
    let expected = without_faults_of(&sample(VIDEO), 6);
    let videos: std::collections::BTreeSet<_> =
        found.iter().map(|summary| summary.video.clone()).collect();
    assert_eq!(videos.len(), 20);
    for summary in &found {
        assert_eq!(summary.processed_frames, FRAMES / 6);
        assert_eq!(counts(summary), expected);
    }
    assert_eq!(found.iter().filter(|summary| summary.name == "same name").count(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_short_video_does_not_wait_for_the_end_of_a_long_one() {
    let folder = tempfile::tempdir().unwrap();
    let long = folder.path().join("long.mp4");
    ffmpeg(
        &["-stream_loop", "4", "-i", sample(VIDEO).to_str().unwrap(), "-an", "-c", "copy"],
        &long,
    );
    let server = Server::start();
    let site = Deployment::new(server.url(), &["--set", "streams.frames_max_per_video=32"]);
    let [_aggregator, detector, _ingest] =
        ["aggregator", "detector", "ingest"].map(|service| site.ready(service));
    site.upload_json(&json!({"uri": file_uri(&long), "id": "long"})).await;
    detector.wait_for_stderr("frame done", 20);
    site.upload_json(
        &json!({"uri": file_uri(&short_video(folder.path(), "short.mp4")), "id": "short"}),
    )
    .await;
    let first = site.summaries(1).await.remove(0);
    assert_eq!((first.video.as_str(), first.processed_frames), ("short", 10));
    let videos = site.jetstream().await.get_key_value("videos").await.unwrap();
    let long: VideoEntry =
        serde_json::from_slice(&videos.get("long").await.unwrap().unwrap()).unwrap();
    assert!(
        long.counted < 300,
        "the short video waited for {} frames of the long one",
        long.counted
    );
    let second = site.summaries(2).await.remove(1);
    assert_eq!((second.video.as_str(), second.failed_frames), ("long", 0));
    assert_eq!(second.processed_frames, 5 * FRAMES);
}

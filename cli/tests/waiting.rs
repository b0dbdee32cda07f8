//! Whoever has to wait for whom, the summary is the one of a run in which nobody did.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod support;

use std::time::{Duration, Instant};

use async_nats::jetstream;
use rustix::process::Signal;
use support::Server;
use support::site::{FRAMES, Site, VIDEO, counts};
use tokio::time::sleep;

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_queue_so_short_that_ingest_mostly_waits() {
    let server = Server::start();
    let site = Site::new(server.url(), &["--set", "streams.frames_max_per_video=1"]);
    let _all = ["aggregator", "detector", "ingest"].map(|service| site.ready(service));
    site.upload(VIDEO).await;
    site.assert_faultless().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ack_wait_shorter_than_a_frame_waits_in_hand() {
    let server = Server::start();
    let site = Site::new(server.url(), &["--set", "streams.frame_ack_wait=100ms"]);
    let _all = ["aggregator", "detector", "ingest"].map(|service| site.ready(service));
    site.upload(VIDEO).await;
    site.assert_faultless().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn detectors_that_come_late() {
    let server = Server::start();
    let site = Site::new(server.url(), &[]);
    let _others = ["aggregator", "ingest"].map(|service| site.ready(service));
    site.upload(VIDEO).await;
    let mut early = site.start("detector");
    early.wait_for_stderr("frame done", 20);
    early.signal(Signal::TERM);
    early.expect_code(0);
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(10) {
        sleep(Duration::from_secs(1)).await;
        let jetstream = jetstream::new(site.client().await);
        let frames = jetstream.get_stream("FRAMES").await.unwrap().get_info().await.unwrap();
        assert!(frames.state.messages > 0, "frames wait in the queue while there is no detector");
    }
    let _late = site.start("detector");
    site.assert_faultless().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_videos_at_once_some_of_the_same_name() {
    let server = Server::start();
    let site = Site::new(server.url(), &["--set", "ingest.every=6"]);
    let _all = ["aggregator", "detector", "ingest"].map(|service| site.ready(service));
    for number in 0..20 {
        site.upload(if number % 4 == 0 { "same name" } else { VIDEO }).await;
    }
    let found = site.summaries(20).await;
    let videos: std::collections::BTreeSet<_> = found.iter().map(|summary| summary.video.clone()).collect();
    assert_eq!(videos.len(), 20);
    for summary in &found {
        assert_eq!(summary.processed_frames, FRAMES / 6);
        assert_eq!(counts(summary), counts(&found[0]));
    }
    assert_eq!(found.iter().filter(|summary| summary.name == "same name").count(), 5);
}

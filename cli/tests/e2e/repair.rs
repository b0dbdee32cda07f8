//! What the server loses is decoded again, or fails by name, and no list hides it.

use moliceiro_nats::subjects;
use moliceiro_testing::deployment::{Deployment, FRAMES, VIDEO, counts, without_faults};
use moliceiro_testing::ingest::{IngestApi, stored_objects};
use moliceiro_testing::paths::sample;
use moliceiro_testing::process::{Process, moliceiro};
use moliceiro_testing::server::Server;
use moliceiro_testing::until;
use moliceiro_testing::video::file_uri;
use serde_json::json;

const IMPATIENT: [&str; 2] = ["--set", "aggregator.repair_after=1s"];

/// Deletes frames of a video from the queue, by their indexes.
async fn lose_frames(site: &Deployment, video: &str, indexes: &[u64]) {
    let frames = site.jetstream().await.get_stream(subjects::FRAMES).await.unwrap();
    let state = frames.get_info().await.unwrap().state;
    let mut lost = 0;
    for sequence in state.first_sequence..=state.last_sequence {
        let Ok(message) = frames.get_raw_message(sequence).await else { continue };
        let id = message.headers.get("Nats-Msg-Id").unwrap().to_string();
        let (of, index) = id.split_once('/').unwrap();
        if of.starts_with(video) && indexes.contains(&index.parse().unwrap()) {
            frames.delete_message(sequence).await.unwrap();
            lost += 1;
        }
    }
    assert_eq!(lost, indexes.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_that_the_server_loses_are_decoded_again() {
    let server = Server::start();
    let site = Deployment::new(server.url(), &[]);
    let aggregator = site.start_with("aggregator", &IMPATIENT);
    let ingest = site.ready("ingest");
    site.upload(VIDEO).await;
    let by_time = json!({"uri": file_uri(&sample(VIDEO)), "name": "by time", "fps": 3});
    site.upload_json(&by_time).await;
    ingest.wait_for_stderr("all frames are published", 2);
    lose_frames(&site, "carphone", &[0, 40, 41, 100]).await;
    lose_frames(&site, "by-time", &[40]).await;
    let detector = site.ready("detector");
    let summaries = site.summaries(2).await;
    ingest.wait_for_stderr("published again", 2);
    aggregator.wait_for_stderr("something of a video was lost", 2);
    let whole = summaries.iter().find(|summary| summary.name == VIDEO).unwrap();
    assert_eq!(counts(whole), without_faults());
    assert!(whole.notices.is_empty(), "{whole:?}");
    let by_time = summaries.iter().find(|summary| summary.name == "by time").unwrap();
    assert_eq!((by_time.processed_frames, by_time.failed_frames), (12, 0), "{by_time:?}");

    let analysed = usize::try_from(FRAMES).unwrap() + 12;
    site.upload_json(&json!({"uri": file_uri(&sample(VIDEO)), "name": "third"})).await;
    detector.wait_for_stderr("frame done", analysed + 10);
    site.jetstream().await.delete_stream(subjects::FRAMES).await.unwrap();
    let third = site.summaries(3).await.remove(2);
    assert_eq!(counts(&third), without_faults());
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_of_a_source_that_is_deleted_fail_by_name() {
    let server = Server::start();
    let site = Deployment::new(server.url(), &[]);
    let _aggregator = site.start_with("aggregator", &IMPATIENT);
    let ingest = site.ready("ingest");
    let folder = tempfile::tempdir().unwrap();
    let video = folder.path().join("a.mp4");
    std::fs::copy(sample(VIDEO), &video).unwrap();
    site.upload_file(&video, "deleted").await;
    ingest.wait_for_stderr("all frames are published", 1);
    std::fs::remove_file(&video).unwrap();
    lose_frames(&site, "deleted", &[50]).await;
    let _detector = site.ready("detector");
    let summary = site.summaries(1).await.remove(0);
    assert_eq!((summary.processed_frames, summary.failed_frames), (FRAMES - 1, 1), "{summary:?}");
    assert_eq!(summary.failed[0].index, 50);
    let [notice] = &summary.notices[..] else { panic!("{summary:?}") };
    assert!(notice.starts_with("1 frame was lost") && notice.contains("no such file"), "{notice}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_is_kept_for_repairs_and_no_list_of_results_hides_a_gap() {
    let server = Server::start();
    let site = Deployment::new(server.url(), &[]);
    let aggregator = site.start_with("aggregator", &IMPATIENT);
    let api = IngestApi::start(&server, &["ingest.width=256", "ingest.height=256"]);
    let bytes = std::fs::read(sample(VIDEO)).unwrap();
    let id = api.upload(&["POST /videos", "content-type: video/mp4"], &bytes);
    api.process.wait_for_stderr("all frames are published", 1);
    lose_frames(&site, &id, &[7]).await;
    let _detector = site.ready("detector");
    let summary = site.summaries(1).await.remove(0);
    assert_eq!(counts(&summary), without_faults());
    let jetstream = site.jetstream().await;
    until("the bytes are deleted", async || (stored_objects(&jetstream).await == 0).then_some(()))
        .await;

    let missing = |path: &str| {
        let reply = api.get(&format!("/videos/{id}/{path}"));
        reply.header("moliceiro-missing-frames").map(str::to_owned)
    };
    assert_eq!((missing("detections"), missing("frames")), (None, None));
    let results = jetstream.get_stream(subjects::RESULTS).await.unwrap();
    let log = results.get_info().await.unwrap().state;
    // Events are small.
    let mut deleted = false;
    for sequence in (log.first_sequence..=log.last_sequence).rev() {
        let message = results.get_raw_message(sequence).await.unwrap();
        let id = message.headers.get("Nats-Msg-Id").map(|id| id.to_string()).unwrap_or_default();
        if id.ends_with("/33") {
            results.delete_message(sequence).await.unwrap();
            deleted = true;
        }
    }
    assert!(deleted);
    let gap = Some("1; first=33; last=33".to_owned());
    assert_eq!((missing("detections"), missing("frames")), (gap.clone(), gap));
    let mut command = moliceiro();
    let command = command.args(["detections", &id, "--nats", &site.url]);
    let mut detections = Process::start(command);
    detections.expect_code(0);
    detections.wait_for_stderr("the result of frame 33 of 120 frames is not kept any more", 1);

    let bucket = jetstream.get_key_value(subjects::VIDEOS_BUCKET).await.unwrap();
    bucket.put(&id, "no entry".into()).await.unwrap();
    let reply = api.get(&format!("/videos/{id}"));
    if reply.status != 200 {
        assert_eq!(reply.status, 500, "{}", reply.text());
        assert!(reply.text().contains("damaged"), "{}", reply.text());
    }
    aggregator.wait_for_stderr("rebuilding it", 1);
    until("the entry is rebuilt", async || {
        let reply = api.get(&format!("/videos/{id}"));
        (reply.status == 200 && reply.json()["summary"]["processed_frames"] == FRAMES).then_some(())
    })
    .await;
}

//! Each service as a user of its own, with the permissions of `nats/accounts.conf`.

use futures_util::StreamExt;
use moliceiro_nats::VideoId;
use moliceiro_nats::messages::{Summary, VideoEvent, to_cbor};
use moliceiro_nats::subjects;
use moliceiro_testing::accounts::ServerWithAccounts;
use moliceiro_testing::deployment::{FRAMES, VIDEO};
use moliceiro_testing::events;
use moliceiro_testing::paths::sample;
use moliceiro_testing::process::{Process, moliceiro, service};
use moliceiro_testing::until;
use moliceiro_testing::video::file_uri;
use serde_json::json;

const IMPATIENT: [&str; 2] = ["--set", "aggregator.repair_after=1s"];

async fn upload(server: &ServerWithAccounts, name: &str) {
    let uploader = server.jetstream("uploader").await;
    let upload = json!({"uri": file_uri(&sample(VIDEO)), "name": name}).to_string();
    uploader.publish(subjects::UPLOAD_SUBJECT, upload.into()).await.unwrap().await.unwrap();
}

fn assert_nothing_denied(services: &[&Process]) {
    for service in services {
        let lines = service.stderr();
        let denied: Vec<_> = lines.iter().filter(|line| line.contains("not permit")).collect();
        assert!(denied.is_empty(), "{denied:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_video_is_counted_and_repaired_by_services_that_may_do_only_that() {
    let server = ServerWithAccounts::start();
    let aggregator = server.ready("aggregator", &IMPATIENT);
    let ingest = server.ready("ingest", &["--log", "debug"]);
    let operator = server.jetstream("operator").await;
    let viewer = server.connect("viewer").await.client;
    let mut summaries = viewer.subscribe("summaries.*").await.unwrap();
    viewer.flush().await.unwrap();
    upload(&server, "first").await;
    ingest.wait_for_stderr("all frames are published", 1);
    let frames = operator.get_stream(subjects::FRAMES).await.unwrap();
    let lost = frames.get_info().await.unwrap().state.first_sequence;
    frames.delete_message(lost).await.unwrap();
    let mut all =
        operator.get_key_value(subjects::VIDEOS_BUCKET).await.unwrap().keys().await.unwrap();
    let video = VideoId::try_from(all.next().await.unwrap().unwrap()).unwrap();

    // A detector that wants the video to be over: nobody believes it.
    let forger = server.jetstream("detector").await;
    let over = to_cbor(&VideoEvent::new(video.clone(), events::ended(1)), 64);
    forger.publish(subjects::detections(&video), over.into()).await.unwrap().await.unwrap();
    aggregator.wait_for_stderr("that no detector may report", 1);

    let detector = server.ready("detector", &[]);
    let summary = summaries.next().await.unwrap();
    let summary: Summary = serde_json::from_slice(&summary.payload).unwrap();
    assert_eq!((summary.processed_frames, summary.failed_frames), (FRAMES, 0), "{summary:?}");
    aggregator.wait_for_stderr("something of a video was lost", 1);
    let status = viewer.request("videos.status", video.to_string().into()).await.unwrap();
    let status: serde_json::Value = serde_json::from_slice(&status.payload).unwrap();
    assert_eq!(status["state"], "done", "{status}");
    assert_nothing_denied(&[&aggregator, &ingest, &detector]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_permission_is_named_by_the_service_that_lacks_it() {
    let server = ServerWithAccounts::start();
    // The streams do not exist yet, and an ingest may not create them.
    let prefix = ["--set", "nats.inbox_prefix=_INBOX.ingest"];
    let mut command = service("ingest");
    let early = Process::start(command.args(["--nats", &server.url("ingest")]).args(prefix));
    let line = early.stderr_line("does not permit");
    assert!(
        line.contains("user ingest (moliceiro-ingest)")
            && line.contains("$JS.API.STREAM.CREATE.UPLOADS")
            && line.contains("start an aggregator"),
        "{line}"
    );
    let _aggregator = server.ready("aggregator", &[]);
    early.wait_for_stderr("is ready", 1);

    let prefix = ["--set", "nats.inbox_prefix=_INBOX.detector"];
    let mut command = service("ingest");
    let wrong = Process::start(command.args(["--nats", &server.url("detector")]).args(prefix));
    let line = wrong.stderr_line("does not permit");
    assert!(
        line.contains("user detector (moliceiro-ingest)")
            && line.contains("add that to the user's permissions"),
        "{line}"
    );
    until("the viewer is refused", async || {
        let prefix = ["--set", "nats.inbox_prefix=_INBOX.viewer"];
        let mut command = moliceiro();
        let command = command.args(["status", "--nats", &server.url("viewer")]).args(prefix);
        let mut status = Process::start(command);
        status.expect_code(1);
        let lines = status.stderr();
        lines[0].contains("does not permit user viewer (moliceiro-status)").then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ingest_deletes_a_video_over_http_only_as_the_operator() {
    let server = ServerWithAccounts::start();
    let _aggregator = server.ready("aggregator", &[]);
    let _detector = server.ready("detector", &["--sessions", "1"]);
    let http = ["--listen", "127.0.0.1:0", "--set", "ingest.every=60"];
    let ingest = server.ready("ingest", &http);
    let base = |of: &Process| {
        let line = of.stderr_line("listening for HTTP");
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        format!("http://{}", line["address"].as_str().unwrap())
    };
    upload(&server, "first").await;
    let client = reqwest::Client::new();
    let video = until("the video is done", async || {
        let url = format!("{}/videos?state=done", base(&ingest));
        let videos = client.get(url).send().await.unwrap().text().await.unwrap();
        let videos: serde_json::Value = serde_json::from_str(&videos).unwrap();
        videos["videos"][0]["id"].as_str().map(str::to_owned)
    })
    .await;
    let forget = async |of: &Process| {
        let url = format!("{}/videos/{video}?forget=true", base(of));
        client.delete(url).send().await.unwrap().status().as_u16()
    };
    assert_eq!(forget(&ingest).await, 503);
    ingest.wait_for_stderr("does not permit user ingest (moliceiro-ingest) to publish to", 1);
    let mut command = service("ingest");
    let prefix = ["--set", "nats.inbox_prefix=_INBOX.operator"];
    let command = command.args(["--nats", &server.url("operator")]).args(prefix).args(http);
    let operator = Process::start(command);
    operator.wait_for_stderr("is ready", 1);
    assert_eq!(forget(&operator).await, 204);
}

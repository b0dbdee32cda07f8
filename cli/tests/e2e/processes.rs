//! The services as separate processes that share only the server.

use std::process::Command;
use std::time::Duration;

use futures_util::StreamExt;
use moliceiro_nats::messages::{Alarm, Summary, VideoState, VideoStatus};
use moliceiro_nats::subjects;
use moliceiro_testing::HANG_GUARD;
use moliceiro_testing::paths::{program, project, sample};
use moliceiro_testing::process::{self, Process};
use moliceiro_testing::server::Server;
use moliceiro_testing::video::file_uri;
use tokio::time::timeout;

fn service(name: &str, server: &Server, arguments: &[&str]) -> Process {
    Process::start(
        process::service(name).args(["--nats", &server.url(), "--log", "debug"]).args(arguments),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn five_processes_count_what_a_core_publish_uploads() {
    let server = Server::start();
    let aggregator = service("aggregator", &server, &[]);
    let ingest = service("ingest", &server, &[]);
    let detectors = [1, 2].map(|_| service("detector", &server, &["--sessions", "1"]));
    for process in [&aggregator, &ingest, &detectors[0], &detectors[1]] {
        process.wait_for_stderr("is ready", 1);
    }
    let client = server.client().await;
    let mut summaries = client.subscribe("summaries.>").await.unwrap();

    let uri = file_uri(&sample("carphone_pristine.mp4"));
    for malformed in ["", "nonsense", "{\"uri\": 7}"] {
        client.publish("videos.upload", malformed.into()).await.unwrap();
    }
    client.publish("videos.upload", uri.to_string().into()).await.unwrap();
    client
        .publish(
            "videos.upload",
            format!(r#"{{"uri": "{uri}", "name": "harbour", "every": 10}}"#).into(),
        )
        .await
        .unwrap();
    client.flush().await.unwrap();

    let mut published = Vec::new();
    while published.len() < 2 {
        let message = timeout(HANG_GUARD, summaries.next()).await.unwrap().unwrap();
        let summary: Summary = serde_json::from_slice(&message.payload).unwrap();
        assert_eq!(message.subject.as_str(), format!("summaries.{}", summary.video));
        published.push(summary);
    }
    published.sort_by(|a, b| a.name.cmp(&b.name));
    let [whole, sparse] = &published[..] else { panic!("{published:?}") };
    assert_eq!(
        (whole.name.as_str(), whole.state, whole.processed_frames),
        ("carphone_pristine.mp4", VideoState::Done, 120)
    );
    assert_eq!(
        (sparse.name.as_str(), sparse.state, sparse.processed_frames),
        ("harbour", VideoState::Done, 12)
    );
    assert!(whole.count("person") >= 100, "{whole:?}");
    assert!(
        whole.wall_time_s > 0.0 && whole.frames_per_second > 0.0 && whole.duration_s.unwrap() > 3.9,
        "{whole:?}"
    );

    let printed = aggregator.wait_for_stdout(12).join("\n");
    for summary in &published {
        assert!(printed.contains(&summary.to_string()), "{printed}\nlacks\n{summary}");
    }
    ingest.wait_for_stderr("dropping a malformed upload message", 3);
    for detector in &detectors {
        detector.wait_for_stderr("frame done", 1);
    }
}

/// What `nats object put`, `pub`, `sub`, `req` and `micro ls` put on the wire.
#[tokio::test(flavor = "multi_thread")]
async fn a_nats_client_uploads_listens_and_asks() {
    let server = Server::start();
    let _services = [
        ("aggregator", &["--set", "aggregator.alarms=person >= 1"][..]),
        ("ingest", &["--set", "ingest.every=40"]),
        ("detector", &["--sessions", "1"]),
    ]
    .map(|(name, arguments)| {
        let process = service(name, &server, arguments);
        process.wait_for_stderr("is ready", 1);
        process
    });
    let client = server.client().await;
    let jetstream = async_nats::jetstream::new(client.clone());
    let mut summaries = client.subscribe("summaries.>").await.unwrap();
    let mut alarms = client.subscribe("alarms.>").await.unwrap();

    let store = jetstream.get_object_store("uploads").await.unwrap();
    store
        .put("a.mp4", &mut tokio::fs::File::open(sample("carphone_pristine.mp4")).await.unwrap())
        .await
        .unwrap();
    client.publish("videos.upload", "obj://uploads/a.mp4".into()).await.unwrap();

    let message = timeout(HANG_GUARD, summaries.next()).await.unwrap().unwrap();
    let summary: Summary = serde_json::from_slice(&message.payload).unwrap();
    assert_eq!(
        (summary.name.as_str(), summary.state, summary.processed_frames),
        ("a.mp4", VideoState::Done, 3)
    );
    assert_eq!((summary.count("person"), summary.alarms), (3, 3));
    for frame in [0, 40, 80] {
        let message = timeout(HANG_GUARD, alarms.next()).await.unwrap().unwrap();
        let alarm: Alarm = serde_json::from_slice(&message.payload).unwrap();
        assert_eq!(message.subject.as_str(), format!("alarms.{}", summary.video));
        assert_eq!((alarm.frame, alarm.rule.to_string().as_str()), (frame, "person >= 1"));
    }
    let answer = client.request("videos.status", summary.video.to_string().into()).await.unwrap();
    let status: VideoStatus = serde_json::from_slice(&answer.payload).unwrap();
    assert_eq!((status.state, status.summary), (VideoState::Done, Some(summary)));

    let asked = async |subject: &str| -> serde_json::Value {
        serde_json::from_slice(
            &client.request(subject.to_owned(), "".into()).await.unwrap().payload,
        )
        .unwrap()
    };
    for kind in ["ping", "info", "stats"] {
        let answer = asked(&format!("$SRV.{}.moliceiro", kind.to_uppercase())).await;
        assert_eq!(
            (&answer["name"], &answer["type"]),
            (&"moliceiro".into(), &format!("io.nats.micro.v1.{kind}_response").into()),
            "{answer}"
        );
        assert!(["id", "version"].iter().all(|field| answer[field].is_string()), "{answer}");
    }
    let info = asked("$SRV.INFO.moliceiro").await;
    let endpoints = info["endpoints"].as_array().unwrap();
    let mut subjects: Vec<_> = endpoints.iter().map(|endpoint| &endpoint["subject"]).collect();
    subjects.sort_by_key(|subject| subject.to_string());
    assert_eq!(subjects, ["models.work", "videos.status"]);
}

/// Detectors of the release before published where ingests do, and `RESULTS` had no other subject.
#[tokio::test(flavor = "multi_thread")]
async fn services_start_with_the_results_of_the_release_before_and_count() {
    let server = Server::start();
    let jetstream = server.jetstream().await;
    let old = async_nats::jetstream::stream::Config {
        name: subjects::RESULTS.into(),
        subjects: vec![subjects::ALL_RESULTS.into()],
        discard: async_nats::jetstream::stream::DiscardPolicy::New,
        duplicate_window: Duration::from_secs(120),
        allow_direct: true,
        max_bytes: 64 << 20,
        max_age: Duration::from_secs(24 * 60 * 60),
        ..Default::default()
    };
    jetstream.create_stream(old).await.unwrap();
    let [_detector, _ingest, aggregator] =
        [("detector", &[][..]), ("ingest", &["--every", "40"]), ("aggregator", &[])].map(
            |(name, options)| {
                let process = service(name, &server, options);
                process.wait_for_stderr("is ready", 1);
                process
            },
        );
    let uri = file_uri(&sample("carphone_pristine.mp4"));
    let upload = jetstream.publish(subjects::UPLOAD_SUBJECT, uri.to_string().into());
    upload.await.unwrap().await.unwrap();
    aggregator.stdout_line("Processed frames: 3");
    let mut results = jetstream.get_stream(subjects::RESULTS).await.unwrap();
    let found = &results.info().await.unwrap().config.subjects;
    assert_eq!(found[..], [subjects::ALL_RESULTS, subjects::ALL_DETECTIONS]);
}

#[test]
fn services_end_cleanly_on_sigterm() {
    let server = Server::start();
    let services = ["aggregator", "ingest", "detector"].map(|name| service(name, &server, &[]));
    for mut process in services {
        process.wait_for_stderr("is ready", 1);
        process.signal(rustix::process::Signal::TERM);
        process.expect_code(0);
    }
}

#[test]
fn services_wait_for_a_server_and_log_it() {
    let mut process =
        Process::start(process::service("aggregator").args(["--nats", "nats://127.0.0.1:1"]));
    process.wait_for_stderr("waiting for the NATS server", 2);
    process.signal(rustix::process::Signal::TERM);
    process.expect_code(0);
}

#[test]
fn each_program_links_only_what_it_needs() {
    for (name, foreign) in [
        ("moliceiro-aggregator", &["libgst", "onnxruntime"][..]),
        ("moliceiro-detector", &["libgst"]),
        ("moliceiro-ingest", &["onnxruntime"]),
    ] {
        let linked = Command::new("ldd").arg(program(name)).output().unwrap();
        let linked = String::from_utf8(linked.stdout).unwrap();
        assert!(linked.contains("libc.so"), "{linked}");
        let tree = Command::new(env!("CARGO"))
            .args([
                "tree",
                "--offline",
                "--locked",
                "--edges",
                "normal",
                "--prefix",
                "none",
                "--package",
                name,
            ])
            .current_dir(project())
            .output()
            .unwrap();
        assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
        let crates = String::from_utf8(tree.stdout).unwrap();
        for library in foreign {
            assert!(!linked.contains(library), "{name}: {linked}");
            let package = if *library == "libgst" { "gstreamer" } else { "ort" };
            assert!(
                !crates.lines().any(|line| line.split(' ').next() == Some(package)),
                "{name} depends on {package}"
            );
        }
    }
}

#[test]
fn an_invalid_setting_ends_a_service_before_it_connects() {
    for name in ["aggregator", "ingest", "detector"] {
        let mut process = Process::start(
            process::service(name)
                .args(["--nats", "nats://127.0.0.1:1"])
                .env("MOLICEIRO__STREAMS__REPLICAS", "2"),
        );
        process.expect_code(64);
        let said = process.stderr().join("\n");
        assert!(
            said.contains("streams.replicas = 2 (from environment MOLICEIRO__STREAMS__REPLICAS)"),
            "{said}"
        );
        assert!(said.contains("1, 3 or 5"), "{said}");
    }
}

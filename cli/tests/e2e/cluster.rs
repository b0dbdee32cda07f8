//! Three servers with the configuration that operators get: any one may be killed, and lose its
//! store.

use std::collections::BTreeMap;
use std::process::Command;

use async_nats::jetstream;
use futures_util::StreamExt;
use moliceiro_nats::messages::{Summary, VideoState};
use moliceiro_nats::{Patience, connect};
use moliceiro_testing::cluster::{Cluster, leader};
use moliceiro_testing::paths::{nats_server, project, sample};
use moliceiro_testing::process::{self, Process};
use moliceiro_testing::video::file_uri;
use moliceiro_testing::{server, until};

#[tokio::test(flavor = "multi_thread")]
async fn the_leader_is_killed_and_restarted_empty() {
    let mut cluster = Cluster::start();
    let url = cluster.url();
    let service = |name: &str| {
        let arguments = [
            "--nats",
            &url,
            "--log",
            "debug",
            "--set",
            "streams.replicas=3",
            "--set",
            "streams.frames_max_per_video=8",
        ];
        Process::start(process::service(name).args(arguments))
    };
    let [aggregator, detector, ingest] = ["aggregator", "detector", "ingest"].map(service);
    for process in [&aggregator, &detector, &ingest] {
        process.wait_for_stderr("is ready", 1);
    }
    let client = connect(&server::settings(&url), "test", Patience::WaitForServer).await.unwrap();
    let jetstream = jetstream::new(client);
    let replicas: BTreeMap<_, _> = jetstream
        .streams()
        .map(|info| info.unwrap().config)
        .map(|config| (config.name, config.num_replicas))
        .collect()
        .await;
    assert!(
        replicas.len() == 15 && replicas.values().all(|replicas| *replicas == 3),
        "{replicas:?}"
    );
    let upload = async |name: &str| {
        let uri = file_uri(&sample("carphone_pristine.mp4"));
        let upload = format!(r#"{{"uri": "{uri}", "name": "{name}"}}"#);
        jetstream.publish("videos.upload", upload.into()).await.unwrap().await.unwrap();
    };
    upload("undisturbed").await;
    let undisturbed = summaries(&jetstream, 1).await.remove(0);

    upload("disturbed").await;
    detector.wait_for_stderr("frame done", 120 + 30);
    let first = leader(&jetstream, "FRAMES").await.expect("the stream has a leader");
    cluster.kill(first);
    detector.wait_for_stderr("frame done", 120 + 60);
    cluster.restart_empty(first);
    let disturbed = summaries(&jetstream, 2).await.remove(1);
    assert_eq!(
        (disturbed.state, disturbed.processed_frames, disturbed.failed_frames),
        (VideoState::Done, 120, 0)
    );
    assert_eq!(disturbed.classes, undisturbed.classes);
}

/// Waits for `n` summaries. A cluster may be without a leader for a moment.
pub(crate) async fn summaries(jetstream: &jetstream::Context, n: usize) -> Vec<Summary> {
    until("summaries", async || try_summaries(jetstream, n).await).await
}

async fn try_summaries(jetstream: &jetstream::Context, n: usize) -> Option<Vec<Summary>> {
    let stream = jetstream.get_stream("SUMMARIES").await.ok()?;
    let consumer =
        stream.create_consumer(jetstream::consumer::pull::Config::default()).await.ok()?;
    let mut messages = consumer.fetch().max_messages(n).messages().await.ok()?;
    let mut found = Vec::new();
    while let Some(Ok(message)) = messages.next().await {
        found.push(serde_json::from_slice(&message.payload).ok()?);
    }
    (found.len() == n).then_some(found)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_the_password_is_not_admitted_and_none_starts_without_one() {
    let cluster = Cluster::start();
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("stranger.conf");
    let routes = |user: &str| format!("nats://{user}{}", cluster.route(0));
    for user in ["", "route:wrong@"] {
        let text = format!(
            "server_name: stranger\nlisten: \"127.0.0.1:-1\"\njetstream {{ store_dir: {:?} }}\n\
             cluster {{ name: moliceiro, listen: \"127.0.0.1:-1\", routes: [{:?}] }}\n",
            folder.path().join("store"),
            routes(user)
        );
        std::fs::write(&config, text).unwrap();
        let mut command = Command::new(nats_server());
        let stranger = Process::start(command.arg("--config").arg(&config));
        stranger.wait_for_stderr("Authorization Violation", 1);
    }
    for config in ["nats/server.conf", "nats/cluster.conf"] {
        let mut command = Command::new(nats_server());
        command.arg("--config").arg(project().join(config)).env_clear();
        let mut server = Process::start(command.env("MOLICEIRO_STORE", folder.path()));
        server.expect_code(1);
        let error = server.stderr().join("\n");
        assert!(error.contains("variable reference for 'MOLICEIRO_"), "{error}");
    }
}

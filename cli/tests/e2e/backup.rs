//! `moliceiro backup` and `moliceiro restore`: everything continues on another server.

use std::path::Path;

use async_nats::jetstream;
use moliceiro_testing::cluster::Cluster;
use moliceiro_testing::deployment::{Deployment, VIDEO, counts, without_faults};
use moliceiro_testing::process::{Process, moliceiro};
use moliceiro_testing::server::{self, Server};
use serde_json::Value;

const REPLICAS: [&str; 2] = ["--set", "streams.replicas=3"];

fn command(name: &str, folder: &Path, url: &str, settings: &[&str]) -> Process {
    let mut command = moliceiro();
    Process::start(command.arg(name).arg(folder).args(["--nats", url]).args(settings))
}

/// Makes a backup while a video is being counted, and returns what `backup.json` says.
async fn back_up_in_the_middle(site: &Deployment, folder: &Path) -> Value {
    let aggregator = site.ready("aggregator");
    let ingest = site.ready("ingest");
    site.upload(VIDEO).await;
    let detector = site.ready("detector");
    detector.wait_for_stderr("frame done", 20);
    let lines = command("backup", folder, &site.url, &[]).expect_code(0);
    assert!(lines.iter().any(|line| line.starts_with("KV_videos\t")), "{lines:#?}");
    assert_eq!(lines.len(), 15, "{lines:#?}");
    // What happens afterwards is not in it.
    for mut process in [detector, ingest, aggregator] {
        process.kill();
    }
    serde_json::from_slice(&std::fs::read(folder.join("backup.json")).unwrap()).unwrap()
}

async fn assert_as_saved(jetstream: &jetstream::Context, saved: &Value, replicas: usize) {
    for stream in saved["streams"].as_array().unwrap() {
        let name = stream["name"].as_str().unwrap();
        let found = jetstream.get_stream(name).await.unwrap();
        let info = found.cached_info();
        assert_eq!(info.config.num_replicas, replicas, "{name}");
        // While it was copied, messages may have come.
        let last = stream["state"]["last_seq"].as_u64().unwrap();
        assert!(info.state.last_sequence >= last, "{name}: {last} is not in {:?}", info.state);
        assert!(info.state.consumer_count as u64 >= stream["consumers"].as_u64().unwrap());
    }
    let results = jetstream.get_stream("RESULTS").await.unwrap();
    let aggregator = results.consumer_info("aggregator").await.unwrap();
    assert!(aggregator.ack_floor.stream_sequence > 0, "{aggregator:?}");
    assert!(!aggregator.paused && aggregator.config.num_replicas == replicas, "{aggregator:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_video_finishes_on_another_server_with_the_same_summary() {
    let backup = tempfile::tempdir().unwrap();
    let from = Server::start();
    let site = Deployment::new(from.url(), &[]);
    let saved = back_up_in_the_middle(&site, backup.path()).await;
    drop(from);

    let to = Server::start();
    let site = Deployment::new(to.url(), &[]);
    command("restore", backup.path(), &site.url, &[]).expect_code(0);
    assert_as_saved(&site.jetstream().await, &saved, 1).await;
    let _services = ["aggregator", "ingest", "detector"].map(|service| site.ready(service));
    site.assert_unharmed().await;

    // Nothing that exists is overwritten.
    let mut again = command("restore", backup.path(), &site.url, &[]);
    again.expect_code(1);
    assert!(again.stderr()[0].contains("has the stream UPLOADS already"), "{:?}", again.stderr());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_video_moves_from_one_cluster_to_another() {
    let backup = tempfile::tempdir().unwrap();
    let from = Cluster::start();
    let site = Deployment::new(from.url(), &REPLICAS);
    let saved = back_up_in_the_middle(&site, backup.path()).await;
    let one = Server::start();
    let mut refused = command("restore", backup.path(), &one.url(), &[]);
    refused.expect_code(1);
    assert!(refused.stderr()[0].contains("replicas"), "{:?}", refused.stderr());
    drop(from);

    let to = Cluster::start();
    let site = Deployment::new(to.url(), &REPLICAS);
    command("restore", backup.path(), &site.url, &[]).expect_code(0);
    assert_as_saved(&site.jetstream().await, &saved, 3).await;
    let _services = ["aggregator", "ingest", "detector"].map(|service| site.ready(service));
    let summary = site.summaries(1).await.remove(0);
    assert_eq!(counts(&summary), without_faults());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_or_unfinished_backup_restores_nothing() {
    let backup = tempfile::tempdir().unwrap();
    let from = Server::start();
    let mut unused = command("backup", backup.path(), &from.url(), &[]);
    unused.expect_code(1);
    assert!(unused.stderr()[0].contains("no streams of Moliceiro"), "{:?}", unused.stderr());
    let site = Deployment::new(from.url(), &[]);
    let _aggregator = site.ready("aggregator");
    command("backup", backup.path(), &site.url, &[]).expect_code(0);
    let mut full = command("backup", backup.path(), &site.url, &[]);
    full.expect_code(1);
    assert!(full.stderr()[0].contains("is not empty"), "{:?}", full.stderr());

    let to = Server::start();
    let file = backup.path().join("RESULTS.snapshot");
    let whole = std::fs::read(&file).unwrap();
    let mut damaged = whole.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    std::fs::write(&file, damaged).unwrap();
    let mut refused = command("restore", backup.path(), &to.url(), &[]);
    refused.expect_code(1);
    assert!(refused.stderr()[0].contains("is damaged"), "{:?}", refused.stderr());
    std::fs::write(&file, whole).unwrap();
    std::fs::rename(backup.path().join("backup.json"), backup.path().join("b")).unwrap();
    let mut refused = command("restore", backup.path(), &to.url(), &[]);
    refused.expect_code(1);
    assert!(refused.stderr()[0].contains("not a finished backup"), "{:?}", refused.stderr());
    let jetstream = jetstream::new(server::client(&to.url()).await);
    assert!(jetstream.get_stream("UPLOADS").await.is_err());
}

//! `moliceiro backup` and `moliceiro restore`: everything continues on another server.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use async_nats::jetstream;
use async_nats::jetstream::consumer;
use futures_util::TryStreamExt;
use moliceiro_nats::messages::{VideoState, milliseconds_now};
use moliceiro_testing::cluster::Cluster;
use moliceiro_testing::deployment::{Deployment, VIDEO, counts, without_faults};
use moliceiro_testing::ingest::IngestApi;
use moliceiro_testing::process::{Process, moliceiro};
use moliceiro_testing::proxy::Link;
use moliceiro_testing::server::{self, Server};
use moliceiro_testing::small_disk::SmallDisk;
use moliceiro_testing::video::short_video;
use moliceiro_testing::{eventually, until};
use rustix::process::Signal;
use serde_json::Value;
use tokio::time::sleep;

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
    let jetstream = site.jetstream().await;
    until("it has frames that it does not acknowledge", async || {
        detector.signal(Signal::STOP);
        // What it acknowledged before arrives.
        sleep(Duration::from_millis(500)).await;
        if in_flight(&jetstream).await > 0 {
            return Some(());
        }
        detector.signal(Signal::CONT);
        None
    })
    .await;
    let lines = command("backup", folder, &site.url, &[]).expect_code(0);
    assert!(lines.iter().any(|line| line.starts_with("KV_videos\t")), "{lines:#?}");
    assert_eq!(lines.len(), 16, "{lines:#?}");
    // What happens afterwards is not in it.
    for mut process in [detector, ingest, aggregator] {
        process.kill();
    }
    drop(jetstream);
    serde_json::from_slice(&std::fs::read(folder.join("backup.json")).unwrap()).unwrap()
}

/// Frames that are delivered and not acknowledged.
async fn in_flight(jetstream: &jetstream::Context) -> usize {
    let frames = jetstream.get_stream("FRAMES").await.unwrap();
    let consumers: Vec<_> = frames.consumers().try_collect().await.unwrap();
    consumers.iter().map(|consumer: &consumer::Info| consumer.num_ack_pending).sum()
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
    // It has as many replicas as its stream.
    assert!(!aggregator.paused && aggregator.config.num_replicas == 0, "{aggregator:?}");
    let copies = aggregator.cluster.map_or(1, |cluster| cluster.replicas.len() + 1);
    assert_eq!(copies, replicas);
    // What was in flight is delivered again: as before, or as if for the first time.
    let mut frames = jetstream.get_stream("FRAMES").await.unwrap();
    let consumers: Vec<consumer::Info> = frames.consumers().try_collect().await.unwrap();
    let to_come: u64 = consumers
        .iter()
        .map(|of| of.num_pending + u64::try_from(of.num_ack_pending).unwrap())
        .sum();
    assert_eq!(to_come, frames.info().await.unwrap().state.messages, "{consumers:?}");
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
    assert!(refused.stderr()[0].contains("or with --replicas 1"), "{:?}", refused.stderr());
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
async fn a_running_video_moves_from_three_servers_to_one() {
    let backup = tempfile::tempdir().unwrap();
    let from = Cluster::start();
    let site = Deployment::new(from.url(), &REPLICAS);
    let saved = back_up_in_the_middle(&site, backup.path()).await;
    drop(from);

    let to = Server::start();
    let site = Deployment::new(to.url(), &[]);
    command("restore", backup.path(), &site.url, &["--replicas", "1"]).expect_code(0);
    assert_as_saved(&site.jetstream().await, &saved, 1).await;
    let _services = ["aggregator", "ingest", "detector"].map(|service| site.ready(service));
    site.assert_unharmed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_video_moves_from_one_server_to_three() {
    let backup = tempfile::tempdir().unwrap();
    let from = Server::start();
    let site = Deployment::new(from.url(), &[]);
    let saved = back_up_in_the_middle(&site, backup.path()).await;
    drop(from);

    let mut to = Cluster::start();
    let site = Deployment::new(to.url(), &REPLICAS);
    command("restore", backup.path(), &site.url, &["--replicas", "3"]).expect_code(0);
    assert_as_saved(&site.jetstream().await, &saved, 3).await;
    // Whichever it is, the other two have everything.
    to.kill(0);
    let _services = ["aggregator", "ingest", "detector"].map(|service| site.ready(service));
    site.assert_unharmed().await;
}

/// Uploads short videos until it is told to stop. Returns each, and when it was accepted.
fn keep_uploading(api: &IngestApi, is_enough: &AtomicBool, accepted: &AtomicUsize) -> Uploads {
    let folder = tempfile::tempdir().unwrap();
    let video = std::fs::read(short_video(folder.path(), "a.mp4")).unwrap();
    let mut uploads = Uploads::new();
    while !is_enough.load(Ordering::Relaxed) {
        let id = api.upload(&["POST /videos?name=a.mp4&every=5"], &video);
        uploads.push((id, milliseconds_now()));
        accepted.fetch_add(1, Ordering::Relaxed);
    }
    uploads
}

type Uploads = Vec<(String, u64)>;

/// Videos that are in a stream or a bucket, by the part of a subject that is after `prefix`.
async fn videos_in(jetstream: &jetstream::Context, stream: &str, prefix: &str) -> BTreeSet<String> {
    let stream = jetstream.get_stream(stream).await.unwrap();
    let subjects = stream.info_with_subjects(format!("{prefix}*")).await.unwrap();
    let subjects: Vec<_> = subjects.try_collect().await.unwrap();
    subjects.iter().map(|(subject, _)| subject[prefix.len()..].to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_uploaded_during_a_backup_is_in_it_whole_or_not_at_all() {
    let settings = ["--set", "aggregator.repair_after=1s"];
    let backup = tempfile::tempdir().unwrap();
    let from = Server::start();
    let site = Deployment::new(from.url(), &settings);
    let services = ["aggregator", "detector"].map(|service| site.ready(service));
    let apis = [(); 2].map(|()| IngestApi::start(&from, &[]));
    let (is_enough, accepted) = (AtomicBool::new(false), AtomicUsize::new(0));
    let uploads: Vec<_> = thread::scope(|scope| {
        let sending = apis.each_ref().map(|api| {
            let (is_enough, accepted) = (&is_enough, &accepted);
            scope.spawn(move || keep_uploading(api, is_enough, accepted))
        });
        let wait_for = |n| {
            let enough = || (accepted.load(Ordering::Relaxed) >= n).then_some(());
            assert!(eventually(enough).is_some(), "only {accepted:?} uploads are accepted");
        };
        wait_for(10);
        command("backup", &backup.path().join("b"), &site.url, &[]).expect_code(0);
        wait_for(accepted.load(Ordering::Relaxed) + 10);
        is_enough.store(true, Ordering::Relaxed);
        sending.into_iter().flat_map(|sent| sent.join().unwrap()).collect()
    });
    services.into_iter().chain(apis.map(|api| api.process)).for_each(|mut process| process.kill());
    drop(from);
    let saved = std::fs::read(backup.path().join("b/backup.json")).unwrap();
    let saved: Value = serde_json::from_slice(&saved).unwrap();
    let as_of = saved["as_of"].as_u64().unwrap();
    let is_before = |accepted: u64| accepted < as_of;
    assert!(uploads.iter().filter(|(_, accepted)| is_before(*accepted)).count() >= 10);

    let to = Server::start();
    let site = Deployment::new(to.url(), &settings);
    command("restore", &backup.path().join("b"), &site.url, &[]).expect_code(0);
    let jetstream = site.jetstream().await;
    let _services = ["aggregator", "ingest", "detector"].map(|service| site.ready(service));
    let summarised = until("every video that is known is counted", async || {
        let known = videos_in(&jetstream, "RESULTS", "results.").await;
        let summarised = videos_in(&jetstream, "SUMMARIES", "summaries.").await;
        let waiting = jetstream.get_stream("UPLOADS").await.unwrap().cached_info().state.messages;
        (waiting == 0 && known.is_subset(&summarised)).then_some(summarised)
    })
    .await;
    for (id, accepted) in &uploads {
        assert!(summarised.contains(id) || !is_before(*accepted), "{id} is lost");
    }
    let later = uploads.iter().filter(|(_, accepted)| !is_before(*accepted));
    let (whole, absent) = later.partition::<Vec<_>, _>(|(id, _)| summarised.contains(id));
    assert!(!absent.is_empty(), "nothing was uploaded after it");
    println!("{} uploads meanwhile are whole, {} absent", whole.len(), absent.len());
    let summaries = site.summaries(summarised.len()).await;
    for summary in &summaries {
        assert_eq!(
            (summary.state, summary.processed_frames, summary.failed_frames),
            (VideoState::Done, 2, 0),
            "{summary:?}"
        );
    }
    let counted: BTreeSet<_> = summaries.iter().map(|summary| summary.video.to_string()).collect();
    assert_eq!(counted, summarised, "each has one summary");
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

fn files_in(folder: &Path) -> usize {
    std::fs::read_dir(folder).unwrap().count()
}

async fn assert_nothing_is_paused(jetstream: &jetstream::Context) {
    let results = jetstream.get_stream("RESULTS").await.unwrap();
    let aggregator = results.consumer_info("aggregator").await.unwrap();
    assert!(!aggregator.paused, "{aggregator:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_stopped_in_the_middle_leaves_nothing() {
    let slowly = Link::Up { latency: Duration::from_millis(100) };
    let folder = tempfile::tempdir().unwrap();
    let backup = folder.path().join("b");
    let from = Server::start();
    let site = Deployment::new(from.url(), &[]);
    let _aggregator = site.ready("aggregator");
    let (proxy, slow) = Deployment::behind_proxy(&from.url(), &[]).await;
    proxy.set(slowly);
    let mut stopped = command("backup", &backup, &slow.url, &[]);
    // The next one has a consumer, which is paused.
    stopped.stdout_line("FRAMES");
    stopped.signal(Signal::INT);
    stopped.expect_code(130);
    assert!(stopped.stderr()[0].contains("interrupted"), "{:?}", stopped.stderr());
    assert_eq!(files_in(&backup), 0);
    let jetstream = site.jetstream().await;
    assert_nothing_is_paused(&jetstream).await;
    command("backup", &backup, &site.url, &[]).expect_code(0);

    let to = Server::start();
    let (proxy, slow) = Deployment::behind_proxy(&to.url(), &[]).await;
    proxy.set(slowly);
    let mut stopped = command("restore", &backup, &slow.url, &[]);
    stopped.stdout_line("FRAMES");
    stopped.signal(Signal::INT);
    stopped.expect_code(130);
    let jetstream = to.jetstream().await;
    let left: Vec<String> = jetstream.stream_names().try_collect().await.unwrap();
    assert!(left.is_empty(), "{left:?}");
    command("restore", &backup, &to.url(), &[]).expect_code(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_fails_it_and_leaves_nothing() {
    let disk = SmallDisk::new(1);
    let (_mounted, folder) = disk.mount();
    let from = Server::start();
    let site = Deployment::new(from.url(), &[]);
    let _aggregator = site.ready("aggregator");
    let jetstream = site.jetstream().await;
    // Bytes that cannot be compressed.
    let mut block = ring::digest::digest(&ring::digest::SHA256, b"").as_ref().to_vec();
    let mut bytes = Vec::new();
    while bytes.len() < 512 << 10 {
        block = ring::digest::digest(&ring::digest::SHA256, &block).as_ref().to_vec();
        bytes.extend_from_slice(&block);
    }
    for n in 0..4 {
        let published = jetstream.publish(format!("stills.v.{n}"), bytes.clone().into()).await;
        published.unwrap().await.unwrap();
    }
    let mut failed = command("backup", &folder.join("b"), &site.url, &[]);
    failed.expect_code(1);
    assert!(failed.stderr()[0].contains("No space left on device"), "{:?}", failed.stderr());
    assert_eq!(files_in(&folder.join("b")), 0);
    assert_nothing_is_paused(&jetstream).await;
}

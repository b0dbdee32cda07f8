//! The disk of nats-server is full, and has space again.

use moliceiro_testing::cluster::Cluster;
use moliceiro_testing::deployment::{
    Deployment, VIDEO, counts, without_faults, without_faults_with,
};
use moliceiro_testing::ingest::IngestApi;
use moliceiro_testing::observed::ObservedService;
use moliceiro_testing::paths::sample;
use moliceiro_testing::process::{Process, SLOWER, moliceiro, run, summaries};
use moliceiro_testing::server::RestartableServer;
use moliceiro_testing::small_disk::SmallDisk;
use moliceiro_testing::until;

use crate::cluster::summaries as cluster_summaries;

const TOO_FEW: &str = "too few NATS servers take part in stream";
const WAS_FULL: &str = "disk was full (no space left on device)";

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_reported_and_after_a_restart_nothing_is_lost() {
    let disk = SmallDisk::new(24);
    let (mounted, store) = disk.mount();
    let mut server = RestartableServer::start_on(&store);
    let site = Deployment::new(server.url(), &[]);
    let api = IngestApi::start_at(&server.url(), &["ingest.width=256", "ingest.height=256"]);
    let ready = |service: &str| {
        let observed = ObservedService::start(service, &server.url());
        observed.wait_until_ready();
        observed
    };
    let aggregator = ready("aggregator");
    let video = std::fs::read(sample(VIDEO)).unwrap();
    let accepted = api.upload(&["POST /videos?name=a.mp4"], &video);
    let frames = async || {
        let stream = site.jetstream().await.get_stream("FRAMES").await.unwrap();
        (stream.cached_info().state.messages > 0).then_some(())
    };
    until("frames are queued", frames).await;

    disk.fill(&mounted);
    let detector = ObservedService::start("detector", &server.url());
    aggregator.wait_until_not_ready("aggregator streams", WAS_FULL);
    detector.wait_until_not_ready("detector streams", WAS_FULL);
    let is_stuck = |line: &str| line.starts_with("moliceiro_stream_stuck{") && line.ends_with(" 1");
    assert!(aggregator.get("/metrics").1.lines().any(is_stuck), "{}", aggregator.get("/metrics").1);
    detector.process.wait_for_stderr(WAS_FULL, 1);
    let mut doctor = Process::start(moliceiro().args(["doctor", "--nats", &server.url()]));
    let said = doctor.expect_code(1);
    assert!(said.iter().any(|line| line.starts_with("problem") && line.contains(WAS_FULL)));
    api.process.wait_for_stderr(WAS_FULL, 1);
    let upload = |first: &str| api.send(&[first], &[7; 100]);
    upload("POST /videos").is_problem(507, "disk of the NATS server was full");

    disk.make_space(&mounted);
    upload("POST /videos").is_problem(507, "restarts it");
    server.kill_and_restart();
    aggregator.wait_until_ready();
    detector.wait_until_ready();
    assert_eq!(site.summaries(1).await[0].video.as_str(), accepted);
    site.assert_unharmed().await;
    api.upload(&["POST /videos?name=b.mp4"], &video);
}

/// Two of three servers may be full at the same time: then nothing is stored.
#[tokio::test(flavor = "multi_thread")]
async fn full_disks_of_a_cluster_are_reported_and_after_restarts_nothing_is_lost() {
    const REPLICAS: [&str; 2] = ["--set", "streams.replicas=3"];
    let disks = [(); 3].map(|()| SmallDisk::new(48));
    let mounted = disks.each_ref().map(SmallDisk::mount);
    let mut cluster = Cluster::start_on(mounted.each_ref().map(|(_, store)| store.clone()));
    let site = Deployment::new(cluster.url(), &REPLICAS);
    let aggregator = ObservedService::start_with("aggregator", &cluster.url(), &REPLICAS);
    aggregator.wait_until_ready();
    let [detector, _ingest] = ["detector", "ingest"].map(|service| site.ready(service));
    site.upload("a.mp4").await;
    detector.wait_for_stderr("frame done", 8);

    let [first, second] = [0, 1];
    for node in [first, second] {
        disks[node].fill(&mounted[node].0);
    }
    aggregator.wait_until_not_ready("aggregator streams", TOO_FEW);
    let is_stuck = |line: &str| line.starts_with("moliceiro_stream_stuck{") && line.ends_with(" 1");
    assert!(aggregator.get("/metrics").1.lines().any(is_stuck), "{}", aggregator.get("/metrics").1);
    aggregator.process.wait_for_stderr(TOO_FEW, 1);

    for node in [first, second] {
        disks[node].make_space(&mounted[node].0);
        cluster.stop(node);
        cluster.start_node(node, None);
    }
    aggregator.wait_until_ready();
    let summary = cluster_summaries(&site.jetstream().await, 1).await.remove(0);
    assert_eq!(counts(&summary), without_faults());
}

/// Streams that leave space on a small disk.
const SMALL_STREAMS: [&str; 6] = [
    "--set",
    "streams.frames_max_bytes=8388608",
    "--set",
    "streams.results_max_bytes=4194304",
    "--set",
    "streams.other_max_bytes=8388608",
];

#[test]
fn a_run_whose_disk_was_full_continues_by_itself() {
    let expected = without_faults_with(&sample(VIDEO), 1, &["--set", "detector.sessions=1"]);
    let disk = SmallDisk::new(40);
    let mut command = run(disk.folder());
    command.args(["--json", "--log", "debug", "--set", "detector.sessions=1"]);
    command.args(["--set", "ingest.encoding=jpeg"]).args(SLOWER).args(SMALL_STREAMS);
    let mut process: Process = disk.start(command.arg(sample(VIDEO)));
    process.wait_for_stderr("frame done", 10);
    disk.fill(&process);
    process.wait_for_stderr("the disk with the data folder is full", 1);
    disk.make_space(&process);
    process.wait_for_stderr("was full: nats-server is restarted", 1);
    let summary = summaries(&process.expect_code(0)).remove(0);
    assert_eq!(counts(&summary), expected);
}

//! Every service and every server is replaced under load, by another release and back.

use std::path::PathBuf;
use std::process::Command;

use futures_util::TryStreamExt;
use moliceiro_nats::messages::VideoState;
use moliceiro_testing::cluster::Cluster;
use moliceiro_testing::deployment::{Deployment, counts, without_faults};
use moliceiro_testing::process::{self, Process};
use moliceiro_testing::until;
use rustix::process::Signal;

const SERVICES: [&str; 3] = ["aggregator", "ingest", "detector"];
/// Uploaded before each service and each server that is replaced, there and back.
const VIDEOS: usize = 2 * (SERVICES.len() + 3);

/// Where the programs are.
#[derive(Clone, Copy, PartialEq)]
enum Release {
    /// Those that `MOLICEIRO_FORMER` names, a folder with `bin` and `lib`; without it, those of now.
    Former,
    Now,
}

impl Release {
    fn folder(self) -> Option<PathBuf> {
        let former = std::env::var_os("MOLICEIRO_FORMER").map(PathBuf::from);
        former.filter(|_| self == Self::Former)
    }

    fn service(self, name: &str) -> Command {
        let now = process::service(name);
        let Some(folder) = self.folder() else { return now };
        let mut command = Command::new(folder.join("bin").join(format!("moliceiro-{name}")));
        for (key, value) in now.get_envs() {
            command.env(key, value.unwrap());
        }
        command
    }

    fn server(self) -> Option<PathBuf> {
        self.folder().map(|folder| folder.join("lib/moliceiro/nats-server"))
    }
}

fn ready(site: &Deployment, release: Release, service: &str) -> Process {
    let mut command = release.service(service);
    let process =
        Process::start(command.args(["--nats", &site.url, "--log", "debug"]).args(&site.settings));
    process.wait_for_stderr("is ready", 1);
    process
}

/// Waits until each server has a copy of everything.
async fn until_replicated(site: &Deployment) {
    let jetstream = site.jetstream().await;
    until("all copies are up to date", async || {
        let streams: Vec<_> = jetstream.streams().try_collect().await.ok()?;
        let is_current = streams.iter().all(|stream| {
            stream.cluster.as_ref().is_some_and(|cluster| {
                cluster.leader.is_some()
                    && cluster.replicas.len() == 2
                    && cluster.replicas.iter().all(|peer| peer.current && !peer.offline)
            })
        });
        (!streams.is_empty() && is_current).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_upgrade_and_the_way_back_lose_and_miscount_nothing() {
    let mut cluster = Cluster::start_with(Release::Former.server().as_deref());
    let settings = ["--set", "streams.replicas=3", "--set", "aggregator.repair_after=1h"];
    let site = Deployment::new(cluster.url(), &settings);
    let mut running = SERVICES.map(|service| ready(&site, Release::Former, service));
    let mut uploaded = 0;
    for release in [Release::Now, Release::Former] {
        for (service, process) in SERVICES.into_iter().zip(&mut running) {
            site.upload(&format!("video {uploaded}")).await;
            uploaded += 1;
            let mut old = std::mem::replace(process, ready(&site, release, service));
            old.signal(Signal::TERM);
            old.expect_code(0);
        }
        for node in 0..3 {
            site.upload(&format!("video {uploaded}")).await;
            uploaded += 1;
            cluster.stop(node);
            cluster.start_node(node, release.server().as_deref());
            until_replicated(&site).await;
        }
    }
    assert_eq!(uploaded, VIDEOS);
    let expected = without_faults();
    assert_eq!(expected.0, VideoState::Done);
    for summary in site.summaries(VIDEOS).await {
        assert_eq!(counts(&summary), expected, "{summary:?}");
        assert_eq!(summary.corrections, 0, "{summary:?}");
    }
}

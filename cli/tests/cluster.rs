//! Three servers on loopback, with the configuration that operators get: one may die, and come back
//! with nothing.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod support;

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use async_nats::jetstream;
use futures_util::StreamExt;
use moliceiro_nats::messages::{Summary, VideoState};
use moliceiro_nats::{NatsSettings, Patience, connect};
use rustix::process::Signal;
use support::{LONG, Process, nats_server, program, project, sample};
use tempfile::TempDir;
use tokio::time::{sleep, timeout};
use url::Url;

const NODES: usize = 3;

struct Cluster {
    stores: TempDir,
    ports: Vec<(u16, u16)>,
    servers: Vec<Process>,
}

/// Ports that are free together: none is there twice.
fn free_ports<const N: usize>() -> [u16; N] {
    let listeners = [(); N].map(|()| std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.each_ref().map(|listener| listener.local_addr().unwrap().port())
}

impl Cluster {
    fn start() -> Self {
        let ports =
            free_ports::<{ 2 * NODES }>().chunks(2).map(|pair| (pair[0], pair[1])).collect();
        let mut cluster = Self { stores: tempfile::tempdir().unwrap(), ports, servers: vec![] };
        cluster.servers = (0..NODES).map(|node| cluster.spawn(node)).collect();
        for server in &cluster.servers {
            server.wait_for_stderr("Server is ready", 1);
        }
        cluster
    }

    fn spawn(&self, node: usize) -> Process {
        let (client, route) = self.ports[node];
        let mut command = Command::new(nats_server());
        command.arg("--config").arg(project().join("nats/cluster.conf"));
        command
            .env("MOLICEIRO_NODE", format!("node-{node}"))
            .env("MOLICEIRO_STORE", self.stores.path().join(node.to_string()));
        command
            .env("MOLICEIRO_LISTEN", format!("127.0.0.1:{client}"))
            .env("MOLICEIRO_CLUSTER_LISTEN", format!("127.0.0.1:{route}"));
        for (number, (_, route)) in self.ports.iter().enumerate() {
            command.env(
                format!("MOLICEIRO_ROUTE_{}", number + 1),
                format!("nats://127.0.0.1:{route}"),
            );
        }
        Process::start(&mut command)
    }

    fn url(&self) -> String {
        self.ports
            .iter()
            .map(|(client, _)| format!("nats://127.0.0.1:{client}"))
            .collect::<Vec<_>>()
            .join(",")
    }

    fn kill(&mut self, node: usize) {
        self.servers[node].signal(Signal::KILL);
        self.servers[node].wait();
    }

    /// Starts a node with nothing of what it had.
    fn restart_empty(&mut self, node: usize) {
        std::fs::remove_dir_all(self.stores.path().join(node.to_string())).unwrap();
        self.servers[node] = self.spawn(node);
    }
}

async fn leader(jetstream: &jetstream::Context, stream: &str) -> Option<usize> {
    let info = jetstream.get_stream(stream).await.ok()?.get_info().await.ok()?;
    info.cluster?.leader?.strip_prefix("node-")?.parse().ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_leader_dies_in_mid_run_and_comes_back_empty() {
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
        Process::start(Command::new(program(&format!("moliceiro-{name}"))).args(arguments))
    };
    let [aggregator, detector, ingest] = ["aggregator", "detector", "ingest"].map(service);
    for process in [&aggregator, &detector, &ingest] {
        process.wait_for_stderr("is ready", 1);
    }
    let client = connect(
        &NatsSettings { url: url.clone(), credentials: None },
        "test",
        Patience::WaitForServer,
    )
    .await
    .unwrap();
    let jetstream = jetstream::new(client);
    let replicas: BTreeMap<_, _> = jetstream
        .streams()
        .map(|info| info.unwrap().config)
        .map(|config| (config.name, config.num_replicas))
        .collect()
        .await;
    assert!(
        replicas.len() == 11 && replicas.values().all(|replicas| *replicas == 3),
        "{replicas:?}"
    );
    let upload = async |name: &str| {
        let uri = Url::from_file_path(sample("carphone_pristine.mp4")).unwrap();
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

async fn summaries(jetstream: &jetstream::Context, n: usize) -> Vec<Summary> {
    let collect = async {
        loop {
            if let Some(found) = try_summaries(jetstream, n).await {
                return found;
            }
            // A cluster without a leader for the moment.
            sleep(Duration::from_millis(500)).await;
        }
    };
    timeout(LONG, collect).await.expect("no summary")
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

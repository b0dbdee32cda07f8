//! Three servers with the configuration that operators get.

use std::path::{Path, PathBuf};

use async_nats::jetstream;
use rustix::process::Signal;
use tempfile::TempDir;

use crate::accounts::server_command_of;
use crate::loopback::Loopback;
use crate::paths::{nats_server, project};
use crate::process::Process;

const NODES: usize = 3;
const CONFIG: &str = "nats/cluster.conf";
const CLIENTS: u16 = 0;
const ROUTES: u16 = 1;
const PASSWORD: &str = "p1234567890";

/// Each node has an address of its own: its ports are known before it listens, and stay its own
/// while it is down.
pub struct Cluster {
    _folder: TempDir,
    config: PathBuf,
    stores: [PathBuf; NODES],
    nodes: [Loopback; NODES],
    servers: Vec<Process>,
}

impl Cluster {
    /// Starts all nodes, and waits until they are ready.
    pub fn start() -> Self {
        Self::start_with(None)
    }

    /// As [`Self::start`], with another nats-server than the one of this project.
    pub fn start_with(program: Option<&Path>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let stores = std::array::from_fn(|node| folder.path().join(node.to_string()));
        Self::started(folder, project().join(CONFIG), stores, program)
    }

    /// As [`Self::start`], with the store of each node in one of these folders. They may store more
    /// than the folders' disks have.
    pub fn start_on(folders: [PathBuf; NODES]) -> Self {
        let (folder, stores) = (tempfile::tempdir().unwrap(), folders.map(|of| of.join("store")));
        let config = std::fs::read_to_string(project().join(CONFIG)).unwrap();
        let larger = config.replace("jetstream {", "jetstream {\n    max_file_store: 100GB");
        let path = folder.path().join("cluster.conf");
        std::fs::write(&path, larger).unwrap();
        Self::started(folder, path, stores, None)
    }

    fn started(
        folder: TempDir,
        config: PathBuf,
        stores: [PathBuf; NODES],
        program: Option<&Path>,
    ) -> Self {
        let nodes = [(); NODES].map(|()| Loopback::claim());
        let mut cluster = Self { _folder: folder, config, stores, nodes, servers: vec![] };
        cluster.servers = (0..NODES).map(|node| cluster.spawn(node, program)).collect();
        for server in &cluster.servers {
            server.wait_for_stderr("Server is ready", 1);
        }
        cluster
    }

    fn spawn(&self, node: usize, program: Option<&Path>) -> Process {
        let store = &self.stores[node];
        let program = program.map_or_else(nats_server, Path::to_owned);
        let mut command = server_command_of(&program, &self.config, store, &self.nodes[node]);
        command
            .env("MOLICEIRO_NODE", format!("node-{node}"))
            .env("MOLICEIRO_USER", "moliceiro")
            .env("MOLICEIRO_PASSWORD", PASSWORD)
            .env("MOLICEIRO_ROUTE_USER", "route")
            .env("MOLICEIRO_ROUTE_PASSWORD", PASSWORD)
            .env("MOLICEIRO_CLUSTER_LISTEN", self.nodes[node].port(ROUTES).to_string());
        for (number, other) in self.nodes.iter().enumerate() {
            command.env(
                format!("MOLICEIRO_ROUTE_{}", number + 1),
                format!("nats://route:{PASSWORD}@{}", other.port(ROUTES)),
            );
        }
        Process::start(&mut command)
    }

    /// The addresses of all nodes, as the setting `nats.url` has them.
    pub fn url(&self) -> String {
        self.nodes
            .iter()
            .map(|node| format!("nats://moliceiro:{PASSWORD}@{}", node.port(CLIENTS)))
            .collect::<Vec<_>>()
            .join(",")
    }

    /// The address where the other nodes reach this one.
    pub fn route(&self, node: usize) -> std::net::SocketAddr {
        self.nodes[node].port(ROUTES)
    }

    pub fn kill(&mut self, node: usize) {
        self.servers[node].kill();
    }

    /// Starts a node without anything that it had stored.
    pub fn restart_empty(&mut self, node: usize) {
        std::fs::remove_dir_all(&self.stores[node]).unwrap();
        self.servers[node] = self.spawn(node, None);
    }

    /// Stops a node as an operator does.
    pub fn stop(&mut self, node: usize) {
        self.servers[node].signal(Signal::TERM);
        self.servers[node].wait();
    }

    /// Starts a node on what it had stored, and waits until it is ready.
    pub fn start_node(&mut self, node: usize, program: Option<&Path>) {
        self.servers[node] = self.spawn(node, program);
        self.servers[node].wait_for_stderr("Server is ready", 1);
    }
}

/// Which node leads a stream, if one does.
pub async fn leader(jetstream: &jetstream::Context, stream: &str) -> Option<usize> {
    let info = jetstream.get_stream(stream).await.ok()?.get_info().await.ok()?;
    info.cluster?.leader?.strip_prefix("node-")?.parse().ok()
}

//! nats-server: a private one, and one that can be killed and restarted where it was.

use std::path::{Path, PathBuf};
use std::process::Command;

use async_nats::{Client, jetstream};
use moliceiro_nats::embedded::EmbeddedServer;
use moliceiro_nats::{NatsSettings, Patience, connect};
use tempfile::TempDir;

use crate::loopback::Loopback;
use crate::paths::{nats_server, old_nats_server};
use crate::process::Process;

pub fn settings(url: &str) -> NatsSettings {
    NatsSettings::at(url)
}

/// A client of a server that runs.
pub async fn client(url: &str) -> Client {
    connect(&settings(url), "test", Patience::FailAtOnce).await.unwrap()
}

/// A private server, as `moliceiro run` has it: it chooses its port itself and reports it.
pub struct Server {
    process: EmbeddedServer,
    folder: TempDir,
}

impl Server {
    pub fn start() -> Self {
        Self::start_in(tempfile::tempdir().unwrap())
    }

    fn start_in(folder: TempDir) -> Self {
        let process = EmbeddedServer::start(&nats_server(), folder.path()).unwrap();
        Self { process, folder }
    }

    /// Stops the server, and starts another on the same store.
    pub fn restart(self) -> Self {
        let Self { process, folder } = self;
        process.stop();
        Self::start_in(folder)
    }

    /// Where clients reach it, with the password.
    pub fn url(&self) -> String {
        self.process.url().to_owned()
    }

    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    pub async fn client(&self) -> Client {
        client(&self.url()).await
    }

    pub async fn jetstream(&self) -> jetstream::Context {
        jetstream::new(self.client().await)
    }
}

/// A server without a password that keeps its address and its store while it is down.
pub struct RestartableServer {
    loopback: Loopback,
    folder: TempDir,
    store: PathBuf,
    program: PathBuf,
    has_jetstream: bool,
    process: Option<Process>,
}

impl RestartableServer {
    /// A server that is down: its address is known, and nothing listens there.
    pub fn down() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self {
            loopback: Loopback::claim(),
            store: folder.path().join("store"),
            folder,
            program: nats_server(),
            has_jetstream: true,
            process: None,
        }
    }

    pub fn start() -> Self {
        Self::down().started()
    }

    /// One whose store is in this folder. It may store more than the folder's disk has.
    pub fn start_on(folder: &Path) -> Self {
        Self { store: folder.join("store"), ..Self::down() }.started()
    }

    /// One that is too old for Moliceiro.
    pub fn start_old() -> Self {
        Self { program: old_nats_server(), ..Self::down() }.started()
    }

    pub fn start_without_jetstream() -> Self {
        Self { has_jetstream: false, ..Self::down() }.started()
    }

    fn started(mut self) -> Self {
        self.restart();
        self
    }

    pub fn url(&self) -> String {
        format!("nats://{}", self.loopback.port(0))
    }

    /// Where its streams are.
    pub fn store(&self) -> PathBuf {
        self.store.clone()
    }

    pub fn kill(&mut self) {
        self.process.take().expect("the server runs").kill();
    }

    /// Starts the server on what its store has, and waits until it is ready.
    pub fn restart(&mut self) {
        let config = self.folder.path().join("server.conf");
        let mut text = format!("listen: \"{}\"\n", self.loopback.port(0));
        if self.has_jetstream {
            text += &format!(
                "jetstream {{ store_dir: {:?}, max_file_store: 100GB, max_memory_store: 100GB, \
                 sync_interval: always }}\n",
                self.store
            );
        }
        std::fs::write(&config, text).unwrap();
        let process = Process::start(Command::new(&self.program).arg("--config").arg(&config));
        process.wait_for_stderr("Server is ready", 1);
        self.process = Some(process);
    }

    pub fn kill_and_restart(&mut self) {
        self.kill();
        self.restart();
    }
}

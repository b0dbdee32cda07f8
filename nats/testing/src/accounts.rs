//! A server with the users that operators get from `nats/accounts.conf`.

use std::fs;
use std::path::Path;
use std::process::Command;

use async_nats::{Client, jetstream};
use moliceiro_nats::{NatsSettings, Patience, Permissions, connect_reporting};
use tempfile::TempDir;

use crate::loopback::Loopback;
use crate::paths::{nats_server, project};
use crate::process::{self, Process};

pub const USERS: [&str; 6] = ["uploader", "viewer", "ingest", "detector", "aggregator", "operator"];

/// `nats/server.conf`, with `nats/accounts.conf` in the place of its one user.
pub struct ServerWithAccounts {
    loopback: Loopback,
    _folder: TempDir,
    _process: Process,
}

/// A connection, and what the server denied it.
pub struct Connected {
    pub client: Client,
    pub permissions: Permissions,
}

impl ServerWithAccounts {
    pub fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("server.conf");
        let text = fs::read_to_string(project().join("nats/server.conf")).unwrap();
        let with_accounts: Vec<_> = text
            .lines()
            .map(|line| match line.starts_with("authorization:") {
                true => "include \"accounts.conf\"",
                false => line,
            })
            .collect();
        fs::write(&config, with_accounts.join("\n")).unwrap();
        let accounts = project().join("nats/accounts.conf");
        fs::copy(accounts, folder.path().join("accounts.conf")).unwrap();
        let loopback = Loopback::claim();
        let mut command = server_command(&config, &folder.path().join("store"), &loopback);
        for user in USERS {
            let variable = format!("MOLICEIRO_{}_PASSWORD", user.to_uppercase());
            command.env(variable, password(user));
        }
        let process = Process::start(&mut command);
        process.wait_for_stderr("Server is ready", 1);
        Self { loopback, _folder: folder, _process: process }
    }

    /// How this user connects.
    pub fn settings(&self, user: &str) -> NatsSettings {
        NatsSettings { inbox_prefix: Some(inbox_prefix(user)), ..NatsSettings::at(self.url(user)) }
    }

    pub fn url(&self, user: &str) -> String {
        format!("nats://{user}:{}@{}", password(user), self.loopback.port(0))
    }

    pub async fn connect(&self, user: &str) -> Connected {
        let permissions = Permissions::default();
        let (settings, patience) = (self.settings(user), Patience::FailAtOnce);
        let client = connect_reporting(&settings, "test", patience, &permissions).await.unwrap();
        Connected { client, permissions }
    }

    pub async fn jetstream(&self, user: &str) -> jetstream::Context {
        jetstream::new(self.connect(user).await.client)
    }

    /// Starts a service as its own user, and waits until it is ready.
    pub fn ready(&self, service: &str, settings: &[&str]) -> Process {
        let prefix = format!("nats.inbox_prefix={}", inbox_prefix(service));
        let mut command = process::service(service);
        command.args(["--nats", &self.url(service), "--set", &prefix]).args(settings);
        let process = Process::start(&mut command);
        process.wait_for_stderr("is ready", 1);
        process
    }
}

/// A server with this configuration, which listens at the first port of `loopback`.
pub fn server_command(config: &Path, store: &Path, loopback: &Loopback) -> Command {
    server_command_of(&nats_server(), config, store, loopback)
}

/// As [`server_command`], of another nats-server.
pub fn server_command_of(
    program: &Path,
    config: &Path,
    store: &Path,
    loopback: &Loopback,
) -> Command {
    let address = loopback.port(0);
    let mut command = Command::new(program);
    command
        .arg("--config")
        .arg(config)
        .args(["--addr", &address.ip().to_string(), "--port", &address.port().to_string()])
        .env("MOLICEIRO_STORE", store);
    command
}

fn password(user: &str) -> String {
    format!("password-of-{user}")
}

fn inbox_prefix(user: &str) -> String {
    format!("_INBOX.{user}")
}

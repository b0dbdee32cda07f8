use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use clap::Args;
use moliceiro_nats::embedded::EmbeddedServer;
use moliceiro_nats::{
    ConnectError, NatsSettings, Patience, Permissions, Streams, StreamsSettings, connect_reporting,
};
use moliceiro_run::{default_data, start_server};
use moliceiro_service::{
    CommonArguments, LogSettings, Section, Settings, SettingsError, start_logging,
};

/// A lost connection must not hold up the end of a command.
const LAST_REQUESTS: Duration = Duration::from_secs(1);

const PUBLISHES_IN_FLIGHT: usize = 4;

/// Where a command reads.
#[derive(Clone, Debug, Args)]
pub(crate) struct StoreArguments {
    /// Folder where `moliceiro run` stored its data: its --data, or ~/.local/share/moliceiro
    #[arg(long, value_name = "DIR", conflicts_with_all = ["nats_url", "nats_context"])]
    data: Option<PathBuf>,
    #[command(flatten)]
    common: CommonArguments,
}

/// A command that talks to a running server, or to one that it starts on the data of
/// `moliceiro run`. It logs errors only, and does not wait for a server that is down.
pub(crate) struct Client {
    /// The name of the connection, such as `moliceiro-status`.
    name: String,
    nats: NatsSettings,
    streams: StreamsSettings,
    /// Stops when the command ends.
    server: Option<EmbeddedServer>,
    /// No setting says which server to use.
    is_default_server: bool,
    settings: Settings,
}

impl Client {
    /// Loads the settings for `command`, such as `moliceiro status`, and starts logging.
    pub(crate) fn new(arguments: &StoreArguments, command: &str) -> anyhow::Result<Self> {
        let loader = arguments.common.loader().default_for(command, "log.level", "error");
        let settings = loader.load()?;
        start_logging(&settings.section::<LogSettings>()?);
        let mut client = Self {
            name: command.replace(' ', "-"),
            nats: settings.section()?,
            streams: settings.section()?,
            server: None,
            is_default_server: settings.origin("nats.url").is_none()
                && settings.origin("nats.context").is_none()
                && arguments.data.is_none(),
            settings,
        };
        if let Some(folder) = &arguments.data {
            client.use_store(folder)?;
        }
        Ok(client)
    }

    /// Uses the server of the run that uses the folder, or else starts one.
    fn use_store(&mut self, folder: &Path) -> anyhow::Result<()> {
        if !EmbeddedServer::has_data(folder) {
            bail!(
                "{} has no data of `moliceiro run`: give the folder of its --data",
                folder.display()
            );
        }
        let url = match EmbeddedServer::running(folder)? {
            Some(url) => url,
            None => {
                let server = start_server(None, Some(folder.to_owned()))?;
                self.server.insert(server).url().to_owned()
            }
        };
        self.nats = NatsSettings::at(url);
        Ok(())
    }

    /// Who uses the command, for what others see of it.
    pub(crate) fn who(&self) -> String {
        format!("{} ({})", self.nats.who(), self.name)
    }

    /// A section of the settings.
    pub(crate) fn section<S: Section>(&self) -> Result<S, SettingsError> {
        self.settings.section()
    }

    /// Connects, and runs `work` to its end.
    pub(crate) fn run(
        self,
        work: impl AsyncFnOnce(Streams) -> anyhow::Result<()>,
    ) -> anyhow::Result<ExitCode> {
        self.connected(true, work)
    }

    /// As [`run`](Self::run), also on a server that no service has used yet.
    pub(crate) fn run_on_new(
        self,
        work: impl AsyncFnOnce(Streams) -> anyhow::Result<()>,
    ) -> anyhow::Result<ExitCode> {
        self.connected(false, work)
    }

    fn connected(
        self,
        is_used: bool,
        work: impl AsyncFnOnce(Streams) -> anyhow::Result<()>,
    ) -> anyhow::Result<ExitCode> {
        self.run_connected(async |client, settings| {
            let in_flight = PUBLISHES_IN_FLIGHT;
            let streams = if is_used {
                Streams::open_existing(client, &settings, in_flight).await?
            } else {
                Streams::open(client, &settings, in_flight).await?
            };
            work(streams).await
        })
    }

    /// Connects, and runs `work` to its end, without opening the streams.
    pub(crate) fn run_connected(
        self,
        work: impl AsyncFnOnce(async_nats::Client, StreamsSettings) -> anyhow::Result<()>,
    ) -> anyhow::Result<ExitCode> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let permissions = Permissions::default();
        let done = runtime.block_on(async {
            let working = async {
                let client =
                    connect_reporting(&self.nats, &self.name, Patience::FailAtOnce, &permissions)
                        .await
                        .map_err(|error| self.explained(error))?;
                let done = work(client.clone(), self.streams.clone()).await;
                // What it leaves to be deleted is asked of the server by tasks of their own.
                tokio::task::yield_now().await;
                tokio::time::timeout(LAST_REQUESTS, client.flush()).await.ok();
                done
            };
            tokio::select! {
                done = working => done,
                denied = permissions.denied() => Err(denied.into()),
            }
        });
        // Before the server stops, so that nothing reconnects.
        drop(runtime);
        if let Some(server) = self.server {
            server.stop();
        }
        done.map(|()| ExitCode::SUCCESS)
    }

    /// People who count with `moliceiro run` have no server that runs.
    fn explained(&self, error: ConnectError) -> anyhow::Error {
        let data = default_data().filter(|data| EmbeddedServer::has_data(data));
        match (&error, data) {
            (ConnectError::Refused { .. }, Some(data)) if self.is_default_server => {
                let data = data.display();
                anyhow::anyhow!("{error}; to read what `moliceiro run` stored, add --data {data}")
            }
            _ => error.into(),
        }
    }
}

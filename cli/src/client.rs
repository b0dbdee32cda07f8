use std::process::ExitCode;

use moliceiro_nats::{NatsSettings, Patience, Streams, StreamsSettings, connect};
use moliceiro_service::{CommonArguments, LogSettings, start_logging};

const PUBLISHES_IN_FLIGHT: usize = 4;

/// A command that talks to a running server. It logs errors only, and does not wait for a server
/// that is down.
pub(crate) struct Client {
    /// The name of the connection, such as `moliceiro-status`.
    name: String,
    nats: NatsSettings,
    streams: StreamsSettings,
}

impl Client {
    /// Loads the settings for `command`, such as `moliceiro status`, and starts logging.
    pub(crate) fn new(common: &CommonArguments, command: &str) -> anyhow::Result<Self> {
        let settings = common.loader().default_for(command, "log.level", "error").load()?;
        start_logging(&settings.section::<LogSettings>()?);
        Ok(Self {
            name: command.replace(' ', "-"),
            nats: settings.section()?,
            streams: settings.section()?,
        })
    }

    /// Connects, and runs `work` to its end.
    pub(crate) fn run(
        self,
        work: impl AsyncFnOnce(Streams) -> anyhow::Result<()>,
    ) -> anyhow::Result<ExitCode> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let client = connect(&self.nats, &self.name, Patience::FailAtOnce).await?;
            work(Streams::open(client, &self.streams, PUBLISHES_IN_FLIGHT).await?).await
        })?;
        Ok(ExitCode::SUCCESS)
    }
}

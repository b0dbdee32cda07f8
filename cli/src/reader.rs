use std::process::ExitCode;

use moliceiro_nats::{NatsSettings, Patience, Streams, StreamsSettings, connect};
use moliceiro_service::{CommonArguments, LogSettings, start_logging};

const PUBLISHES_IN_FLIGHT: usize = 4;

/// Runs a command that looks at a server which is there already, and says only what is wrong.
pub(crate) fn read(
    common: &CommonArguments,
    command: &str,
    look: impl AsyncFnOnce(Streams) -> anyhow::Result<()>,
) -> anyhow::Result<ExitCode> {
    let settings = common.loader().default_for(command, "log.level", "error").load()?;
    let (nats, streams): (NatsSettings, StreamsSettings) =
        (settings.section()?, settings.section()?);
    start_logging(&settings.section::<LogSettings>()?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let client = connect(&nats, &command.replace(' ', "-"), Patience::FailAtOnce).await?;
        look(Streams::open(client, &streams, PUBLISHES_IN_FLIGHT).await?).await
    })?;
    Ok(ExitCode::SUCCESS)
}

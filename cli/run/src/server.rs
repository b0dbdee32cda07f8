use std::path::PathBuf;
use std::time::Duration;

use moliceiro_nats::StreamsSettings;
use moliceiro_nats::embedded::EmbeddedServer;
use moliceiro_service::{SettingsError, bundled};

const MIB: u64 = 1 << 20;

/// Who else uses the NATS server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ServerKind {
    /// Only this run: every alarm and summary on it is ours to print, also those of earlier runs.
    Private,
    /// Others too: only the videos of this run concern us.
    Shared,
}

impl ServerKind {
    pub(crate) fn of(private: Option<&EmbeddedServer>) -> Self {
        if private.is_some() { Self::Private } else { Self::Shared }
    }
}

/// Where a run keeps its data if `--data` does not say.
pub fn default_data() -> Option<PathBuf> {
    Some(dirs::data_dir()?.join("moliceiro"))
}

/// Starts `program` as a private server, or else the bundled `nats-server`, or else the one on
/// PATH. It keeps its data in `data`, or else in the user's data folder.
///
/// Fails if it cannot be started, or if another process uses the folder.
pub fn start(program: Option<PathBuf>, data: Option<PathBuf>) -> anyhow::Result<EmbeddedServer> {
    let program = program
        .or_else(|| bundled("bin/nats-server"))
        .unwrap_or_else(|| PathBuf::from("nats-server"));
    let data = data.or_else(default_data).ok_or_else(|| {
        SettingsError::Invalid(vec![
            "cannot find your home directory: choose a folder with --data".into(),
        ])
    })?;
    Ok(EmbeddedServer::start(&program, &data)?)
}

/// The settings of streams that fit the disk of the private server; and, if they had to become
/// smaller, a line that says so.
pub(crate) fn fit(
    server: &EmbeddedServer,
    streams: &StreamsSettings,
) -> anyhow::Result<(StreamsSettings, Option<String>)> {
    let (limit, wanted) = (server.store_limit(), streams.reserved_bytes());
    let Some(fitted) = streams.fitted(limit) else {
        let least = StreamsSettings::LEAST_BYTES.min(wanted);
        anyhow::bail!(
            "the disk with the data folder has too little free space: the streams may use {} MiB \
             of it, and need {} MiB. Free some space, choose a folder on another disk with --data, \
             or lower streams.frames_max_bytes, streams.results_max_bytes and \
             streams.other_max_bytes",
            limit / MIB,
            least.div_ceil(MIB)
        );
    };
    let notice = (limit < wanted).then(|| {
        format!(
            "little space on the disk with the data folder: the streams get {} MiB instead of {}; \
             --data chooses another folder",
            limit / MIB,
            wanted / MIB
        )
    });
    Ok((fitted, notice))
}

/// Returns when the private server exits although nobody stopped it.
pub(crate) async fn unexpected_exit(server: &mut Option<EmbeddedServer>) -> anyhow::Error {
    const POLL_INTERVAL: Duration = Duration::from_millis(500);
    loop {
        tokio::time::sleep(POLL_INTERVAL).await;
        if let Some(status) = server.as_mut().and_then(EmbeddedServer::ended) {
            return anyhow::anyhow!(
                "nats-server exited unexpectedly ({status}); run the same command again to resume"
            );
        }
    }
}

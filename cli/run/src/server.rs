use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context;
use moliceiro_nats::embedded::EmbeddedServer;
use moliceiro_nats::{Streams, StreamsSettings};
use moliceiro_service::{SettingsError, bundled};

use crate::progress::Progress;

const MIB: u64 = 1 << 20;
const POLL_INTERVAL: Duration = Duration::from_millis(500);
/// How often it is checked whether the server can write, and so how often it restarts at most.
const STORAGE_INTERVAL: Duration = Duration::from_secs(5);
/// With less space, a server that restarts would be stuck again soon.
const LEAST_FREE: u64 = 8 * MIB;

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

/// The program of the private server: the bundled one, or else the one on PATH.
pub fn nats_server() -> PathBuf {
    bundled("bin/nats-server").unwrap_or_else(|| PathBuf::from("nats-server"))
}

/// Starts `program` as a private server, or else the bundled `nats-server`, or else the one on
/// PATH. It keeps its data in `data`, or else in the user's data folder.
///
/// Fails if it cannot be started, or if another process uses the folder.
pub fn start(program: Option<PathBuf>, data: Option<PathBuf>) -> anyhow::Result<EmbeddedServer> {
    let program = program.unwrap_or_else(nats_server);
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
    let Some(fitted) = streams.fitted(limit, server.memory_limit()) else {
        let least = streams.least_bytes().min(wanted);
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

/// Restarts the private server when its disk was full and has space again; of another server, says
/// that it has to be restarted. Returns when it exits
/// although nobody stopped it, or cannot write for another reason.
pub(crate) async fn watch(
    server: &mut Option<EmbeddedServer>,
    streams: &Streams,
    progress: &Progress,
) -> anyhow::Error {
    let mut checks = Checks { next: Instant::now(), is_full: false };
    loop {
        tokio::time::sleep(POLL_INTERVAL).await;
        let checked = checks.restart_if_stuck(server.as_mut(), streams, progress);
        if let Err(error) = checked.await {
            return error;
        }
        if let Some(status) = server.as_mut().and_then(EmbeddedServer::ended) {
            return anyhow::anyhow!(
                "nats-server exited unexpectedly ({status}); run the same command again to resume"
            );
        }
    }
}

/// What is known about the private server's disk.
struct Checks {
    next: Instant,
    /// It was full at the last check.
    is_full: bool,
}

impl Checks {
    async fn restart_if_stuck(
        &mut self,
        server: Option<&mut EmbeddedServer>,
        streams: &Streams,
        progress: &Progress,
    ) -> anyhow::Result<()> {
        if Instant::now() < self.next {
            return Ok(());
        }
        let stuck = streams.storage.check().await;
        self.next = Instant::now() + STORAGE_INTERVAL;
        let Some(first) = stuck.first() else {
            self.is_full = false;
            return Ok(());
        };
        let is_new = !std::mem::replace(&mut self.is_full, true);
        let Some(server) = server else {
            if is_new {
                progress.print(&first.to_string());
            }
            return Ok(());
        };
        if !first.was_full() {
            anyhow::bail!("{first}; then run the same command again to resume");
        }
        if server.free_bytes().context("cannot read how full the disk is")? < LEAST_FREE {
            if is_new {
                progress.print(
                    "the disk with the data folder is full: the run waits until there is space",
                );
            }
            return Ok(());
        }
        // It takes a moment, in which only this run's display stands still.
        tokio::task::block_in_place(|| server.restart())?;
        progress.print("the disk with the data folder was full: nats-server is restarted");
        self.next = Instant::now() + STORAGE_INTERVAL;
        Ok(())
    }
}

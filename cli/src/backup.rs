//! `moliceiro backup` and `moliceiro restore`.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use moliceiro_nats::backup::{self, BackupError, SavedStream};
use moliceiro_service::{shutdown_on_signals, stdout};

use crate::client::{Client, StoreArguments};

/// Copies everything on the server into a folder: queues, results, summaries, uploads, models
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Services may run meanwhile: each queue pauses for the time that its own copy takes. A video whose \
upload was accepted before the backup began is in it, and continues from it after `moliceiro \
restore`, as after a crash.

With accounts, only the operator may do this.")]
pub(crate) struct BackupArguments {
    /// A new or empty folder
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    #[command(flatten)]
    store: StoreArguments,
}

/// Puts a backup on another server or cluster, which no service has used
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Stop all services first, and start them for the new server when this has ended, with the same \
streams.replicas as --replicas. What three servers had needs a cluster of at least three, or \
--replicas 1. The files are checked before anything is restored; if a stream cannot be restored, \
none is left.

Sequences, consumers, what is acknowledged, revisions of entries, objects: all are as they were. A \
frame queue in memory (streams.frames_storage) is not in a backup: its frames are decoded again.")]
pub(crate) struct RestoreArguments {
    /// The folder that `moliceiro backup` wrote
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// Copies that the new cluster keeps of each stream [default: as many as before]
    #[arg(long, value_name = "N", value_parser = replicas)]
    replicas: Option<usize>,
    #[command(flatten)]
    store: StoreArguments,
}

fn replicas(text: &str) -> Result<usize, &'static str> {
    match text.parse() {
        Ok(replicas @ (1 | 3 | 5)) => Ok(replicas),
        _ => Err("give 1, 3 or 5"),
    }
}

/// What a shell reports for a program that Ctrl-C ended.
const INTERRUPTED: u8 = 130;

pub(crate) fn run_backup(arguments: &BackupArguments) -> anyhow::Result<ExitCode> {
    let client = Client::new(&arguments.store, "moliceiro backup")?;
    let done = client.run_connected(async |client, settings| {
        let stop = shutdown_on_signals()?;
        let (api, folder) = (settings.api(), &arguments.folder);
        let as_of = backup::back_up(&client, &api, folder, stop.cancelled(), print).await?;
        let as_of = humantime::format_rfc3339_seconds(as_of);
        drop(writeln!(stdout(), "{} is complete, as of {as_of}", folder.display()));
        Ok(())
    });
    with_exit_code(done)
}

pub(crate) fn run_restore(arguments: &RestoreArguments) -> anyhow::Result<ExitCode> {
    let client = Client::new(&arguments.store, "moliceiro restore")?;
    let done = client.run_connected(async |client, settings| {
        let stop = shutdown_on_signals()?;
        let (api, folder) = (settings.api(), &arguments.folder);
        let replicas = arguments.replicas;
        backup::restore(&client, &api, folder, replicas, stop.cancelled(), print).await?;
        Ok(())
    });
    with_exit_code(done)
}

fn with_exit_code(done: anyhow::Result<ExitCode>) -> anyhow::Result<ExitCode> {
    match done {
        Err(error) if matches!(error.downcast_ref(), Some(BackupError::Interrupted)) => {
            drop(writeln!(io::stderr(), "error: {error}"));
            Ok(ExitCode::from(INTERRUPTED))
        }
        done => done,
    }
}

fn print(stream: &SavedStream) {
    let SavedStream { name, messages, consumers, file, .. } = stream;
    let size = match file {
        Some(file) => format!("{} bytes", file.bytes),
        None => "in memory: without its messages".to_owned(),
    };
    // The work continues if nobody reads this.
    drop(writeln!(stdout(), "{name}\t{messages} messages\t{consumers} consumers\t{size}"));
}

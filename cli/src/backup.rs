//! `moliceiro backup` and `moliceiro restore`.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use moliceiro_nats::backup::{self, SavedStream};
use moliceiro_service::stdout;

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
Stop all services first, and start them for the new server when this has ended. The streams have as \
many replicas as before, so a cluster of three needs one of at least three. The files are checked \
before anything is restored; if a stream cannot be restored, none is left.

Sequences, consumers, what is acknowledged, revisions of entries, objects: all are as they were. A \
frame queue in memory (streams.frames_storage) is not in a backup: its frames are decoded again.")]
pub(crate) struct RestoreArguments {
    /// The folder that `moliceiro backup` wrote
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    #[command(flatten)]
    store: StoreArguments,
}

pub(crate) fn run_backup(arguments: &BackupArguments) -> anyhow::Result<ExitCode> {
    let client = Client::new(&arguments.store, "moliceiro backup")?;
    client.run_connected(async |client, settings| {
        backup::back_up(&client, &settings.api(), &arguments.folder, print).await?;
        Ok(())
    })
}

pub(crate) fn run_restore(arguments: &RestoreArguments) -> anyhow::Result<ExitCode> {
    let client = Client::new(&arguments.store, "moliceiro restore")?;
    client.run_connected(async |client, settings| {
        backup::restore(&client, &settings.api(), &arguments.folder, print).await?;
        Ok(())
    })
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

use std::io::{BufWriter, Write};
use std::pin::pin;
use std::process::ExitCode;
use std::time::{Duration, UNIX_EPOCH};

use clap::Args;
use futures_util::TryStreamExt;
use moliceiro_nats::Streams;
use moliceiro_nats::messages::{AuditRecord, to_json};
use moliceiro_service::stdout;

use crate::client::{Client, StoreArguments};

/// Lists who changed what: uploads by HTTP, cancelled and deleted videos, replays, models
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Each line has the time, who did it (the name of the HTTP token, or the NATS user and the command), \
what, and the video or the model. What was uploaded by NATS is not among it: see the server's log.")]
pub(crate) struct AuditArguments {
    /// Print JSON, one object per line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    store: StoreArguments,
}

pub(crate) fn run(arguments: &AuditArguments) -> anyhow::Result<ExitCode> {
    Client::new(&arguments.store, "moliceiro audit")?
        .run(async |streams| print(&streams, arguments.json).await)
}

async fn print(streams: &Streams, json: bool) -> anyhow::Result<()> {
    let mut records = pin!(streams.audited());
    let mut out = BufWriter::new(stdout());
    while let Some(record) = records.try_next().await? {
        if json {
            out.write_all(&to_json(&record))?;
            writeln!(out)?;
            continue;
        }
        let AuditRecord { at, who, action, video, model, .. } = record;
        let at = UNIX_EPOCH.checked_add(Duration::from_millis(at)).unwrap_or(UNIX_EPOCH);
        write!(out, "{}\t{who}\t{action}", humantime::format_rfc3339_seconds(at))?;
        let of = [video.map(|video| video.to_string()), model.map(|model| model.to_string())];
        for of in of.into_iter().flatten() {
            write!(out, "\t{of}")?;
        }
        writeln!(out)?;
    }
    out.flush()?;
    Ok(())
}

//! `moliceiro top`: shows the pipeline at a glance in a terminal.
//!
//! The way of a figure, in the order of the files:
//!
//! 1. `sources.rs` reads it from the NATS server, without creating or consuming anything.
//! 2. `state.rs` holds everything that is known: streams and consumers (`queues.rs`), videos
//!    (`videos.rs`), and rates (`meter.rs`).
//! 3. `text.rs` puts it into words.
//! 4. `view.rs` lays it out for a terminal of any size, and `terminal.rs` draws that and obeys
//!    keys. `--once` prints the text instead.

#[cfg(test)]
mod example;
mod meter;
mod queues;
mod sources;
mod state;
mod terminal;
mod text;
mod videos;
mod view;

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::Parser;
use moliceiro_nats::connect::without_password;
use moliceiro_nats::{NatsSettings, Patience, Permissions, StreamsSettings, connect_reporting};
use moliceiro_service::{CommonArguments, LogSettings, shutdown_on_signals, start_logging};
use thiserror::Error;
use tokio::sync::watch;

use state::State;

const SHORTEST_INTERVAL: Duration = Duration::from_millis(100);
const LONGEST_INTERVAL: Duration = Duration::from_secs(3600);
/// How long a snapshot waits for the server, in addition to its interval.
const SNAPSHOT_TIMEOUT: Duration = Duration::from_secs(15);

/// Shows the pipeline live: rates, queue, detectors, videos
///
/// It reads everything from the NATS server and changes nothing. Rates are over the last 10
/// seconds.
#[derive(Clone, Debug, Parser)]
#[command(after_help = "\
Keys: q quit, arrows or j k scroll the videos, s change their order, ? help

If standard output is not a terminal, this prints one snapshot, as with --once.")]
pub struct TopArguments {
    /// Print one snapshot as text and exit
    #[arg(long)]
    once: bool,
    /// How often to update; with --once: how long to measure rates
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = interval)]
    interval: Duration,
    #[command(flatten)]
    common: CommonArguments,
}

#[derive(Debug, Error)]
enum IntervalError {
    #[error("{0}: give a time such as 2s or 500ms")]
    Malformed(#[from] humantime::DurationError),
    #[error("give 100ms to 1h")]
    OutOfRange,
}

fn interval(text: &str) -> Result<Duration, IntervalError> {
    let interval = humantime::parse_duration(text)?;
    let allowed = SHORTEST_INTERVAL..=LONGEST_INTERVAL;
    if allowed.contains(&interval) { Ok(interval) } else { Err(IntervalError::OutOfRange) }
}

/// Runs `moliceiro top` until the user quits, or until the snapshot is printed.
pub fn run(arguments: &TopArguments) -> anyhow::Result<ExitCode> {
    let settings =
        arguments.common.loader().default_for("moliceiro top", "log.level", "error").load()?;
    let nats: NatsSettings = settings.section()?;
    let log: LogSettings = settings.section()?;
    let once = arguments.once || !std::io::stdout().is_terminal();
    if once {
        // Log lines would overwrite the screen.
        start_logging(&log);
    }
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let permissions = Permissions::default();
    let connecting = connect_reporting(&nats, "moliceiro-top", Patience::FailAtOnce, &permissions);
    let client = runtime.block_on(connecting)?;
    let (sender, state) = watch::channel(State::new(without_password(&nats.url), Instant::now()));
    let interval = arguments.interval;
    let api = settings.section::<StreamsSettings>()?.api();
    runtime.spawn(async move { sources::follow(client, api, interval, &sender).await });
    let shown = if once {
        runtime.block_on(async {
            tokio::select! {
                printed = print_once(state, interval) => printed,
                denied = permissions.denied() => Err(denied.into()),
            }
        })
    } else {
        show(&runtime, state, interval)
    };
    runtime.shutdown_background();
    shown.map(|()| ExitCode::SUCCESS)
}

fn show(
    runtime: &tokio::runtime::Runtime,
    state: watch::Receiver<State>,
    interval: Duration,
) -> anyhow::Result<()> {
    let stopped =
        runtime.block_on(async { shutdown_on_signals() }).context("cannot watch for signals")?;
    terminal::show(state, &stopped, interval)
}

async fn print_once(mut state: watch::Receiver<State>, interval: Duration) -> anyhow::Result<()> {
    let complete = state.wait_for(|state| state.is_complete() || state.problem.is_some());
    let Ok(complete) = tokio::time::timeout(SNAPSHOT_TIMEOUT + interval, complete).await else {
        bail!("the NATS server did not answer within {} s", SNAPSHOT_TIMEOUT.as_secs())
    };
    let state = complete.context("reading the figures stopped unexpectedly")?;
    match &state.problem {
        Some(problem) => bail!("{problem}"),
        None => write!(moliceiro_service::stdout(), "{}", text::snapshot(&state))
            .context("cannot write to standard output"),
    }
}

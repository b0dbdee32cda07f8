//! The pipeline at a glance, in a terminal.

#[cfg(test)]
mod example;
mod meter;
mod sources;
mod state;
mod terminal;
mod text;
mod view;

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::Parser;
use moliceiro_nats::connect::without_password;
use moliceiro_nats::{NatsSettings, Patience, connect};
use moliceiro_service::{CommonArguments, LogSettings, shutdown_on_signals, start_logging};
use tokio::sync::watch;

use state::State;

const SHORTEST_INTERVAL: Duration = Duration::from_millis(100);
const LONGEST_INTERVAL: Duration = Duration::from_secs(3600);
/// How long a snapshot waits for the server, beside its interval.
const PATIENCE: Duration = Duration::from_secs(15);

/// Shows how the pipeline does: rates, queue, detectors, videos
///
/// It only looks on, at what passes over the NATS server. Rates are those of the last 10 seconds.
#[derive(Clone, Debug, Parser)]
#[command(after_help = "Keys: q quit, arrows or j k scroll the videos, s sort them, ? help\n\n\
                  Where standard output is no terminal, one snapshot is printed, as with --once.")]
pub struct TopArguments {
    /// Print one snapshot as text and end
    #[arg(long)]
    once: bool,
    /// How often the server is asked; of --once: the time over which rates are measured
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = interval)]
    interval: Duration,
    #[command(flatten)]
    common: CommonArguments,
}

fn interval(text: &str) -> Result<Duration, String> {
    let interval = humantime::parse_duration(text)
        .map_err(|error| format!("{error}: give a time such as 2s or 500ms"))?;
    let allowed = SHORTEST_INTERVAL..=LONGEST_INTERVAL;
    if allowed.contains(&interval) { Ok(interval) } else { Err("give 100ms to 1h".into()) }
}

pub fn run(arguments: &TopArguments) -> anyhow::Result<ExitCode> {
    let settings =
        arguments.common.loader().default_for("moliceiro top", "log.level", "error").load()?;
    let nats: NatsSettings = settings.section()?;
    let log: LogSettings = settings.section()?;
    let once = arguments.once || !std::io::stdout().is_terminal();
    if once {
        // Lines of a log would go over the picture.
        start_logging(&log);
    }
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let client = runtime.block_on(connect(&nats, "moliceiro-top", Patience::FailAtOnce))?;
    let (sender, state) = watch::channel(State::new(without_password(&nats.url), Instant::now()));
    let interval = arguments.interval;
    runtime.spawn(async move { sources::follow(client, interval, &sender).await });
    let shown = if once {
        runtime.block_on(print_once(state, interval))
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
    let complete = state.wait_for(|state| state.is_complete() || state.trouble.is_some());
    let Ok(complete) = tokio::time::timeout(PATIENCE + interval, complete).await else {
        bail!("the NATS server does not say how it does")
    };
    let state = complete.context("what reads the figures ended by itself")?;
    match &state.trouble {
        Some(trouble) => bail!("{trouble}"),
        None => write!(std::io::stdout(), "{}", text::snapshot(&state))
            .context("cannot write to standard output"),
    }
}

//! `moliceiro scale`: starts and stops detectors as the work in the queue requires.
//!
//! 1. `moliceiro_nats::work` measures the work, once a second.
//! 2. `policy.rs` decides how many detectors should run.
//! 3. `processes.rs` or `units.rs` starts and stops them.

mod policy;
mod processes;
mod units;

use std::ffi::OsString;
use std::io::{self, Write};
use std::num::NonZero;
use std::process::ExitCode;
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::Parser;
use moliceiro_nats::messages::QueuedWork;
use moliceiro_nats::{
    NatsSettings, Patience, Permissions, Streams, StreamsSettings, connect_reporting, work,
};
use moliceiro_service::{
    CommonArguments, EX_USAGE, LogSettings, Settings, shutdown_on_signals, start_logging,
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use policy::{Policy, Scaler};
use processes::Processes;
use units::Units;

/// The name of its connection.
const NAME: &str = "moliceiro-scale";
/// It publishes nothing.
const PUBLISHES_IN_FLIGHT: usize = 1;
/// Detectors that stop end by themselves within 20 s.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);
const STOP_POLL: Duration = Duration::from_millis(100);
const LEAST_WITHIN: Duration = Duration::from_secs(1);

/// Starts and stops detectors on this machine, as the work in the queue requires
///
/// Once a second it measures how long the frames in the queue would take one detector, and runs as
/// many as finish them within --within. More are started at once. Fewer have to be enough for
/// --cooldown before some stop; when the queue is empty, all but one stop at once, and the last one
/// after --cooldown. A detector that stops finishes the frames that it has in flight, so none loses
/// one of its deliveries.
///
/// Detectors get the settings of this command: --config, --nats, --context, --log, --set and the
/// environment; what follows `--` is only for them. Each analyses one frame at a time, unless
/// detector.sessions says otherwise: so --max is about how many cores they use.
#[derive(Clone, Debug, Parser)]
#[command(after_help = "\
Examples:
  moliceiro scale --nats nats://server:4222               0 to as many detectors as there are cores
  moliceiro scale --min 1 --max 8 --within 5s             one is always there, and frames wait 5 s
  moliceiro scale --max 4 -- --models boats               only for one model
  moliceiro scale --max 4 --machines 3                    on each of three machines
  moliceiro scale --max 8 --systemd                       moliceiro-detector@1 to @8, as root

Ctrl-C stops the detectors, and ends this command when they have finished. A second Ctrl-C ends it
at once. If it is killed, its detectors stop as well; units of systemd continue.")]
pub struct ScaleArguments {
    /// Detectors that always run
    #[arg(long, value_name = "N", default_value_t = 0)]
    min: u32,
    /// The most detectors [default: one for each core]
    #[arg(long, value_name = "N")]
    max: Option<u32>,
    /// How long the frames in the queue may take
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = humantime::parse_duration)]
    within: Duration,
    /// How long fewer detectors have to be enough before some stop
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = humantime::parse_duration)]
    cooldown: Duration,
    /// Machines that run this command for the same server: each starts its part
    #[arg(long, value_name = "N", default_value = "1")]
    machines: NonZero<u32>,
    /// Start and stop units of systemd instead of processes, by number
    #[arg(long, conflicts_with = "detector_arguments")]
    systemd: bool,
    /// The units' template
    #[arg(long, value_name = "NAME", default_value = "moliceiro-detector", requires = "systemd")]
    unit: String,
    #[command(flatten)]
    common: CommonArguments,
    /// Arguments of `moliceiro detector`
    #[arg(last = true, value_name = "ARGUMENTS")]
    detector_arguments: Vec<OsString>,
}

/// Runs until a signal.
pub fn run(arguments: &ScaleArguments) -> anyhow::Result<ExitCode> {
    let settings = arguments.common.loader().load()?;
    let policy = match arguments.policy() {
        Ok(policy) => policy,
        Err(error) => {
            drop(writeln!(io::stderr(), "error: {error}"));
            return Ok(ExitCode::from(EX_USAGE));
        }
    };
    start_logging(&settings.section::<LogSettings>()?);
    let fleet = match arguments.systemd {
        true => Fleet::Units(Units::new(&arguments.unit, policy.max)),
        false => Fleet::Processes(arguments.processes(&settings)?),
    };
    // On this thread only: detectors stop when the thread that started them ends.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let ended = runtime.block_on(async {
        let shutdown = shutdown_on_signals().context("cannot watch for signals")?;
        scale(&settings, policy, fleet, &shutdown).await
    });
    runtime.shutdown_background();
    ended.map(|()| ExitCode::SUCCESS)
}

impl ScaleArguments {
    fn policy(&self) -> anyhow::Result<Policy> {
        let Self { min, within, cooldown, machines, .. } = *self;
        let cores = available_parallelism().map_or(1, NonZero::get);
        let max = self.max.unwrap_or_else(|| u32::try_from(cores).unwrap_or(u32::MAX).max(min));
        if max == 0 || min > max || max > 10_000 {
            bail!("give a --max of 1 to 10000, and a --min that is not larger");
        }
        if within < LEAST_WITHIN {
            bail!("give a --within of 1s or longer");
        }
        Ok(Policy { min, max, within, cooldown, machines })
    }

    /// Detectors with the settings of this command, and what is only for them.
    fn processes(&self, settings: &Settings) -> anyhow::Result<Processes> {
        let program = std::env::current_exe().context("cannot find this program")?;
        let CommonArguments { config, nats_url, nats_context, log_level, assignments } =
            &self.common;
        let mut arguments: Vec<OsString> = vec!["detector".into()];
        let mut option = |name: &str, value: OsString| arguments.extend([name.into(), value]);
        if let Some(file) = config {
            option("--config", file.into());
        }
        for (name, value) in
            [("--nats", nats_url), ("--context", nats_context), ("--log", log_level)]
        {
            if let Some(value) = value {
                option(name, value.into());
            }
        }
        if settings.origin("detector.sessions").is_none() {
            option("--set", "detector.sessions=1".into());
        }
        for (key, value) in assignments {
            option("--set", format!("{key}={value}").into());
        }
        arguments.extend(self.detector_arguments.iter().cloned());
        Ok(Processes::new(program, arguments))
    }
}

/// The detectors of this machine.
enum Fleet {
    Processes(Processes),
    Units(Units),
}

impl Fleet {
    async fn running(&mut self) -> anyhow::Result<usize> {
        match self {
            Self::Processes(processes) => Ok(processes.running()),
            Self::Units(units) => Ok(units.running().await?),
        }
    }

    /// Starts or stops as many as differ.
    async fn set(&mut self, running: usize, wanted: usize) -> anyhow::Result<()> {
        let (more, fewer) = (wanted.saturating_sub(running), running.saturating_sub(wanted));
        match self {
            Self::Processes(processes) => {
                processes.stop(fewer);
                processes.start(more).context("cannot start a detector")
            }
            Self::Units(units) => {
                units.stop(fewer).await?;
                Ok(units.start(more).await?)
            }
        }
    }

    async fn stop_all(&mut self) -> anyhow::Result<()> {
        let running = self.running().await?;
        self.set(running, 0).await?;
        let stopped = async {
            loop {
                let any = match self {
                    Self::Processes(processes) => processes.any(),
                    Self::Units(units) => units.any().await?,
                };
                if !any {
                    return anyhow::Ok(());
                }
                tokio::time::sleep(STOP_POLL).await;
            }
        };
        match tokio::time::timeout(STOP_TIMEOUT, stopped).await {
            Ok(stopped) => stopped,
            Err(_) => bail!("detectors did not stop within {} s", STOP_TIMEOUT.as_secs()),
        }
    }
}

async fn scale(
    settings: &Settings,
    policy: Policy,
    mut fleet: Fleet,
    shutdown: &CancellationToken,
) -> anyhow::Result<()> {
    let Some(streams) = shutdown.run_until_cancelled(open(settings)).await.transpose()? else {
        return Ok(());
    };
    let Policy { min, max, .. } = policy;
    info!(min, max, "scaling is ready");
    // Starting and stopping must not hold up the measurements.
    let (sender, mut measured) = watch::channel(None);
    let measuring = Box::pin(work::follow(&streams, &sender));
    let mut scaler = Scaler::new(policy);
    let scaling = async {
        while measured.changed().await.is_ok() {
            let work: Option<QueuedWork> = measured.borrow_and_update().clone();
            if let Err(error) = step(&mut scaler, &mut fleet, work.as_ref()).await {
                warn!(error = format!("{error:#}"), "cannot scale; retrying");
            }
        }
    };
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = measuring => {}
        () = scaling => {}
    }
    fleet.stop_all().await
}

async fn step(
    scaler: &mut Scaler,
    fleet: &mut Fleet,
    work: Option<&QueuedWork>,
) -> anyhow::Result<()> {
    let running = fleet.running().await?;
    let counted = u32::try_from(running).unwrap_or(u32::MAX);
    let wanted = scaler.decide(Instant::now(), counted, work);
    if wanted == counted {
        return Ok(());
    }
    let frames: u64 = work.iter().flat_map(|work| &work.models).map(|model| model.frames).sum();
    let seconds = work.map_or(0.0, |work| work.detector_seconds);
    info!(
        running,
        wanted,
        frames,
        seconds_for_one = format!("{seconds:.1}"),
        "changing the number of detectors"
    );
    fleet.set(running, usize::try_from(wanted).unwrap_or(usize::MAX)).await
}

async fn open(settings: &Settings) -> anyhow::Result<Streams> {
    let nats: NatsSettings = settings.section()?;
    let permissions = Permissions::default();
    permissions.log();
    let connecting = connect_reporting(&nats, NAME, Patience::WaitForServer, &permissions);
    let client = Box::pin(connecting).await?;
    let streams: StreamsSettings = settings.section()?;
    Ok(Box::pin(Streams::wait_for(client, &streams, PUBLISHES_IN_FLIGHT)).await?)
}

//! `moliceiro`: counts the objects in videos, on one machine or many.
//!
//! `run`, `scale`, `top` and `bench` are crates of their own, and so are the three services. The
//! commands here are small: `config` and `metrics` print what this program knows about itself;
//! `status`, `detections`, `analyse`, `dead`, `model`, `rerun`, `compare`, `audit`, `backup` and
//! `restore` ask a running server, through `client`; `plan` computes what a site needs; `evaluate`
//! prints what the crate `moliceiro-evaluate` computes. `doctor` checks an installation;
//! `completions` and `man` print what packages of this program contain.

mod analyse;
mod audit;
mod backup;
mod client;
mod compare;
mod completions;
mod config;
mod dead;
mod detections;
mod doctor;
mod evaluate;
mod manual;
mod metrics;
mod model;
mod model_check;
mod plan;
mod rerun;
mod status;
mod suggestion;
mod version;

use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use moliceiro_aggregator::AggregatorArguments;
#[cfg(feature = "bench")]
use moliceiro_bench::{BenchArguments, ChildArguments};
use moliceiro_detector::{DetectorArguments, TrialCommand};
use moliceiro_ingest::IngestArguments;
use moliceiro_run::RunArguments;
use moliceiro_scale::ScaleArguments;
use moliceiro_service::{serve, stdout};
#[cfg(feature = "top")]
use moliceiro_top::TopArguments;

use analyse::AnalyseArguments;
use audit::AuditArguments;
use backup::{BackupArguments, RestoreArguments};
use compare::CompareArguments;
use completions::CompletionsArguments;
use config::ConfigArguments;
use dead::DeadCommand;
use detections::DetectionsArguments;
use doctor::DoctorArguments;
use evaluate::EvaluateArguments;
use manual::ManualArguments;
use model::ModelCommand;
use plan::PlanArguments;
use rerun::RerunArguments;
use status::StatusArguments;

/// Counts the objects in every frame of your videos, exactly once
#[derive(Parser)]
#[command(
    name = "moliceiro",
    version,
    long_version = version::details_if_asked(),
    after_help = "\
Examples:
  moliceiro run bikes.mp4                        count one video, with everything in this command
  moliceiro run --json *.mkv                     count many, and print JSON lines
  moliceiro detector --nats nats://server:4222   let a cluster use this machine
  moliceiro top --nats nats://server:4222        watch a cluster work"
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Run(Box<RunArguments>),
    #[cfg(feature = "top")]
    Top(TopArguments),
    #[cfg(not(feature = "top"))]
    #[command(hide = true)]
    Top(NotBuilt),
    Ingest(IngestArguments),
    Detector(DetectorArguments),
    Aggregator(AggregatorArguments),
    Scale(ScaleArguments),
    Status(StatusArguments),
    Detections(DetectionsArguments),
    Analyse(AnalyseArguments),
    #[command(subcommand)]
    Dead(DeadCommand),
    #[command(subcommand)]
    Model(ModelCommand),
    Rerun(RerunArguments),
    Compare(CompareArguments),
    Audit(AuditArguments),
    Backup(BackupArguments),
    Restore(RestoreArguments),
    Plan(PlanArguments),
    Evaluate(EvaluateArguments),
    #[cfg(feature = "bench")]
    Bench(BenchArguments),
    #[cfg(not(feature = "bench"))]
    #[command(hide = true)]
    Bench(NotBuilt),
    #[cfg(feature = "bench")]
    #[command(hide = true)]
    BenchChild(ChildArguments),
    /// Decodes one video for the ingest that starts it
    #[command(hide = true)]
    DecodeWorker,
    /// Loads a model and runs it once, for the program that starts it
    #[command(hide = true)]
    ModelTrial,
    Doctor(DoctorArguments),
    Config(ConfigArguments),
    /// Prints a reference of all metrics, as Markdown
    Metrics,
    Completions(CompletionsArguments),
    Man(ManualArguments),
}

/// A command that this program was built without.
#[cfg(not(all(feature = "bench", feature = "top")))]
#[derive(clap::Args)]
#[command(disable_help_flag = true)]
struct NotBuilt {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    _ignored: Vec<std::ffi::OsString>,
}

#[cfg(not(all(feature = "bench", feature = "top")))]
impl NotBuilt {
    fn run(&self, command: &str) -> anyhow::Result<ExitCode> {
        anyhow::bail!("this moliceiro was built without `{command}`: run `make build` to add it")
    }
}

fn main() -> ExitCode {
    moliceiro_service::main_explaining(suggestion::explain, |arguments: Arguments| match arguments
        .command
    {
        Command::Run(arguments) => moliceiro_run::run(&arguments),
        #[cfg(feature = "top")]
        Command::Top(arguments) => moliceiro_top::run(&arguments),
        #[cfg(not(feature = "top"))]
        Command::Top(missing) => missing.run("top"),
        Command::Ingest(arguments) => {
            let service = arguments.service()?;
            serve(&service.ingest.base.clone(), |telemetry, shutdown| {
                moliceiro_ingest::run(service, telemetry, shutdown)
            })
        }
        Command::Detector(arguments) => {
            let service = arguments.service()?;
            serve(&service.base.clone(), |telemetry, shutdown| {
                moliceiro_detector::run(service, TrialCommand::this_program(), telemetry, shutdown)
            })
        }
        Command::Aggregator(arguments) => {
            let service = arguments.service()?;
            let print = moliceiro_aggregator::printer(service.section.output)?;
            serve(&service.base.clone(), |telemetry, shutdown| {
                moliceiro_aggregator::run(service, print, telemetry, shutdown)
            })
        }
        Command::Scale(arguments) => moliceiro_scale::run(&arguments),
        Command::Status(arguments) => status::run(&arguments),
        Command::Detections(arguments) => detections::run(&arguments),
        Command::Analyse(arguments) => analyse::run(&arguments),
        Command::Dead(command) => dead::run(&command),
        Command::Model(command) => model::run(&command),
        Command::Rerun(arguments) => rerun::run(&arguments),
        Command::Compare(arguments) => compare::run(&arguments),
        Command::Audit(arguments) => audit::run(&arguments),
        Command::Backup(arguments) => backup::run_backup(&arguments),
        Command::Restore(arguments) => backup::run_restore(&arguments),
        Command::Plan(arguments) => plan::run(&arguments),
        Command::Evaluate(arguments) => evaluate::run(&arguments),
        #[cfg(feature = "bench")]
        Command::Bench(arguments) => moliceiro_bench::run(&arguments),
        #[cfg(not(feature = "bench"))]
        Command::Bench(missing) => missing.run("bench"),
        #[cfg(feature = "bench")]
        Command::BenchChild(arguments) => moliceiro_bench::run_child(&arguments),
        Command::DecodeWorker => Ok(moliceiro_ingest::decode_worker()),
        Command::ModelTrial => Ok(moliceiro_detector::model_trial()),
        Command::Doctor(arguments) => doctor::run(&arguments),
        Command::Config(arguments) => config::run(&arguments),
        Command::Metrics => {
            write!(stdout(), "{}", metrics::reference())?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Completions(arguments) => completions::run(&arguments),
        Command::Man(arguments) => manual::run(&arguments),
    })
}

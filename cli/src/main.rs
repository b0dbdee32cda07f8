//! `moliceiro`: tells what is in a video, on one machine or many.

mod dead;
mod detections;
mod metrics_reference;
mod reader;
mod show_config;
mod status;

use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use moliceiro_aggregator::AggregatorArguments;
use moliceiro_detector::DetectorArguments;
use moliceiro_ingest::IngestArguments;
use moliceiro_service::serve;

use dead::DeadCommand;
use detections::DetectionsArguments;
use moliceiro_bench::{BenchArguments, ChildCommand};
use moliceiro_run::RunArguments;
use moliceiro_top::TopArguments;
use show_config::ConfigArguments;
use status::StatusArguments;

/// Tells what is in a video: counts the objects in every frame, once
#[derive(Parser)]
#[command(
    name = "moliceiro",
    version,
    after_help = "Examples:\n  moliceiro run bikes.mp4           count one video, with everything in this one command\n  \
                  moliceiro run --json *.mkv        many, as JSON lines\n  \
                  moliceiro detector --nats nats://server:4222   lend this machine to a cluster\n  \
                  moliceiro top --nats nats://server:4222        look on"
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Run(RunArguments),
    Top(TopArguments),
    Ingest(IngestArguments),
    Detector(DetectorArguments),
    Aggregator(AggregatorArguments),
    Status(StatusArguments),
    Detections(DetectionsArguments),
    #[command(subcommand)]
    Dead(DeadCommand),
    Bench(BenchArguments),
    #[command(subcommand, hide = true)]
    BenchChild(ChildCommand),
    Config(ConfigArguments),
    /// Prints what each metric means, as Markdown
    Metrics,
}

fn main() -> ExitCode {
    moliceiro_service::main(|arguments: Arguments| match arguments.command {
        Command::Run(arguments) => moliceiro_run::run(&arguments),
        Command::Top(arguments) => moliceiro_top::run(&arguments),
        Command::Ingest(arguments) => {
            let service = arguments.service()?;
            serve(&service.base.clone(), |telemetry, shutdown| {
                moliceiro_ingest::run(service, telemetry, shutdown)
            })
        }
        Command::Detector(arguments) => {
            let service = arguments.service()?;
            serve(&service.base.clone(), |telemetry, shutdown| {
                moliceiro_detector::run(service, telemetry, shutdown)
            })
        }
        Command::Aggregator(arguments) => {
            let service = arguments.service()?;
            let print = moliceiro_aggregator::printer(service.aggregator.output)?;
            serve(&service.base.clone(), |telemetry, shutdown| {
                moliceiro_aggregator::run(service, print, telemetry, shutdown)
            })
        }
        Command::Status(arguments) => status::run(&arguments),
        Command::Detections(arguments) => detections::run(&arguments),
        Command::Dead(command) => dead::run(&command),
        Command::Bench(arguments) => moliceiro_bench::run(&arguments),
        Command::BenchChild(command) => moliceiro_bench::run_child(&command),
        Command::Config(arguments) => show_config::show(&arguments),
        Command::Metrics => {
            write!(std::io::stdout(), "{}", metrics_reference::reference())?;
            Ok(ExitCode::SUCCESS)
        }
    })
}

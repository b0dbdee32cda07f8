//! `moliceiro-aggregator`: the aggregator as a program of its own.

use std::process::ExitCode;

use moliceiro_aggregator::{AggregatorArguments, printer, run};
use moliceiro_service::serve;

fn main() -> ExitCode {
    moliceiro_service::main(|arguments: AggregatorArguments| {
        let service = arguments.service()?;
        let print = printer(service.section.output)?;
        serve(&service.base.clone(), |telemetry, shutdown| run(service, print, telemetry, shutdown))
    })
}

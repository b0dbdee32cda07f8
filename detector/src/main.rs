//! `moliceiro-detector`: the detector as a program of its own.

use std::process::ExitCode;

use moliceiro_detector::{DetectorArguments, run};
use moliceiro_service::serve;

fn main() -> ExitCode {
    moliceiro_service::main(|arguments: DetectorArguments| {
        let service = arguments.service()?;
        serve(&service.base.clone(), |telemetry, shutdown| run(service, telemetry, shutdown))
    })
}

//! `moliceiro-detector`: the detector as a program of its own.

use std::process::ExitCode;

use moliceiro_detector::{DetectorArguments, MODEL_TRIAL, TrialCommand, model_trial, run};
use moliceiro_service::serve;

fn main() -> ExitCode {
    if std::env::args_os().nth(1).is_some_and(|command| command == MODEL_TRIAL) {
        return model_trial();
    }
    moliceiro_service::main(|arguments: DetectorArguments| {
        let service = arguments.service()?;
        let trial = TrialCommand::this_program();
        serve(&service.base.clone(), |telemetry, shutdown| run(service, trial, telemetry, shutdown))
    })
}

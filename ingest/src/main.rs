//! `moliceiro-ingest`: the ingest as a service of its own.

use std::process::ExitCode;

use moliceiro_ingest::{IngestArguments, run};
use moliceiro_service::serve;

fn main() -> ExitCode {
    moliceiro_service::main(|arguments: IngestArguments| {
        let service = arguments.service()?;
        let base = service.ingest.base.clone();
        serve(&base, |telemetry, shutdown| run(service, telemetry, shutdown))
    })
}

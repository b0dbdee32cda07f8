//! `moliceiro-ingest`: the ingest as a service of its own.

use std::process::ExitCode;

use moliceiro_ingest::{DECODE_WORKER, IngestArguments, decode_worker, run};
use moliceiro_service::serve;

fn main() -> ExitCode {
    if std::env::args_os().nth(1).is_some_and(|command| command == DECODE_WORKER) {
        return decode_worker();
    }
    moliceiro_service::main(|arguments: IngestArguments| {
        let service = arguments.service()?;
        let base = service.ingest.base.clone();
        serve(&base, |telemetry, shutdown| run(service, telemetry, shutdown))
    })
}

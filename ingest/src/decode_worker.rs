use std::process::ExitCode;

use moliceiro_decode::{Observer, WorkerCommand, Workers, serve};
use moliceiro_service::{LogFormat, LogSettings, start_logging};

/// The command that makes a program decode one video for its parent. Each program that calls
/// [`run`](crate::run) must have it.
pub const DECODE_WORKER: &str = "decode-worker";

/// The whole of a process that decodes one video for the ingest that started it.
pub fn decode_worker() -> ExitCode {
    // The ingest logs this again, all of it at the level debug.
    start_logging(&LogSettings {
        level: "warn,moliceiro_decode=debug".into(),
        format: LogFormat::Text,
    });
    serve(Observer::default())
}

/// Processes of this program that decode.
pub(crate) fn workers() -> Workers {
    Workers::new(WorkerCommand::this_program(DECODE_WORKER))
}

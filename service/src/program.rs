use std::future::Future;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use clap::error::ErrorKind;
use tokio_util::sync::CancellationToken;
use tracing::error;

use crate::endpoint::{MetricsSettings, start_endpoint};
use crate::logs::{LogSettings, start_logging};
use crate::output::is_output_closed;
use crate::settings::SettingsError;
use crate::shutdown::shutdown_on_signals;
use crate::telemetry::Telemetry;

/// Exit code for a wrong command line or wrong settings (`sysexits.h`).
pub const EX_USAGE: u8 = 64;

/// Parses the command line. The error is the exit code: success after help or version, else
/// [`EX_USAGE`].
pub fn parse_arguments<A: Parser>() -> Result<A, ExitCode> {
    parse_arguments_with(|_| {})
}

fn parse_arguments_with<A: Parser>(explain: impl FnOnce(&mut clap::Error)) -> Result<A, ExitCode> {
    A::try_parse().map_err(|mut error| {
        explain(&mut error);
        // An error cannot be reported on a closed terminal.
        error.print().ok();
        match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => ExitCode::SUCCESS,
            _ => ExitCode::from(EX_USAGE),
        }
    })
}

/// The whole `main` of a program: parses the command line, runs, prints an error on one line.
///
/// The exit code is [`EX_USAGE`] for wrong settings, and 1 for any other error. It is a success if
/// standard output is [closed](crate::stdout): its reader has read enough.
pub fn main<A: Parser>(run: impl FnOnce(A) -> anyhow::Result<ExitCode>) -> ExitCode {
    main_explaining(|_| {}, run)
}

/// As [`main`]. `explain` may improve the text about a wrong command line.
pub fn main_explaining<A: Parser>(
    explain: impl FnOnce(&mut clap::Error),
    run: impl FnOnce(A) -> anyhow::Result<ExitCode>,
) -> ExitCode {
    match parse_arguments_with(explain).map(run) {
        Ok(Ok(code)) | Err(code) => code,
        Ok(Err(error)) if is_output_closed(&error) => ExitCode::SUCCESS,
        Ok(Err(error)) => {
            // If standard error is closed, nobody reads it.
            drop(writeln!(io::stderr(), "error: {}", one_line(&error)));
            match error.downcast_ref::<SettingsError>() {
                Some(_) => ExitCode::from(EX_USAGE),
                None => ExitCode::FAILURE,
            }
        }
    }
}

/// How long a service may finish work in flight: less than supervisors commonly wait before they
/// kill (30 s).
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(20);

/// Settings of logs and metrics, which every service has.
#[derive(Clone, Debug)]
pub struct Base {
    /// `[log]`
    pub log: LogSettings,
    /// `[metrics]`
    pub metrics: MetricsSettings,
    /// The port for metrics with [`Listen::Auto`](crate::Listen::Auto).
    pub metrics_port: u16,
}

/// Runs a service until it returns: starts logs, metrics, a runtime, and a token that signals
/// cancel.
///
/// Ends a service that does not finish its work in flight within 20 s after a signal, because the
/// server is down or a stream is full.
pub fn serve<F, E>(
    base: &Base,
    run: impl FnOnce(Telemetry, CancellationToken) -> F,
) -> anyhow::Result<ExitCode>
where
    F: Future<Output = Result<(), E>>,
    E: Into<anyhow::Error>,
{
    start_logging(&base.log);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let ended: anyhow::Result<ExitCode> = runtime.block_on(async {
        let shutdown = shutdown_on_signals()?;
        let telemetry = Telemetry::default();
        telemetry.permissions.log();
        start_endpoint(&base.metrics, base.metrics_port, telemetry.clone()).await?;
        end_in_time(run(telemetry, shutdown.clone()), &shutdown, SHUTDOWN_TIMEOUT)
            .await
            .map_err(Into::into)
    });
    // Does not wait for threads that are still busy.
    runtime.shutdown_background();
    ended
}

async fn end_in_time<E>(
    run: impl Future<Output = Result<(), E>>,
    shutdown: &CancellationToken,
    patience: Duration,
) -> Result<ExitCode, E> {
    let too_late = async {
        shutdown.cancelled().await;
        tokio::time::sleep(patience).await;
    };
    tokio::select! {
        ended = run => ended.map(|()| ExitCode::SUCCESS),
        () = too_late => {
            error!(
                "not finished within {} s: exiting; work in flight will be redelivered",
                patience.as_secs()
            );
            Ok(ExitCode::FAILURE)
        }
    }
}

/// The error and its causes, each once: many libraries repeat the cause in their own message.
fn one_line(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |line, cause| match () {
        () if line.is_empty() => cause,
        () if line.contains(&cause) => line,
        () => format!("{line}: {cause}"),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    #[tokio::test]
    async fn a_service_that_cannot_finish_is_ended_but_only_after_a_signal() {
        const PATIENCE: Duration = Duration::from_millis(50);
        let shutdown = CancellationToken::new();
        let stuck = std::future::pending::<Result<(), anyhow::Error>>();
        let running = end_in_time(stuck, &shutdown, PATIENCE);
        tokio::pin!(running);
        assert!(tokio::time::timeout(4 * PATIENCE, &mut running).await.is_err());
        shutdown.cancel();
        assert_eq!(running.await.unwrap(), ExitCode::FAILURE);
        assert_eq!(
            end_in_time(async { anyhow::Ok(()) }, &shutdown, PATIENCE).await.unwrap(),
            ExitCode::SUCCESS
        );
    }
}

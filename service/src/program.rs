use std::future::Future;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use clap::error::ErrorKind;
use tokio_util::sync::CancellationToken;
use tracing::error;

use crate::endpoint::{MetricsSettings, start_endpoint};
use crate::logs::{LogSettings, start_logging};
use crate::settings::SettingsError;
use crate::shutdown::shutdown_on_signals;
use crate::telemetry::Telemetry;

/// Exit code of a program that was called or configured wrongly (`sysexits.h`).
pub const EX_USAGE: u8 = 64;

/// Reads the command line. Help and version end the program well; anything wrong ends it with
/// [`EX_USAGE`].
pub fn parse_arguments<A: Parser>() -> Result<A, ExitCode> {
    A::try_parse().map_err(|error| {
        // Nothing is left to tell a terminal that is gone.
        let _ = error.print();
        match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => ExitCode::SUCCESS,
            _ => ExitCode::from(EX_USAGE),
        }
    })
}

/// The whole `main` of a program: reads the command line, runs, and turns an error into a line and
/// an exit code.
///
/// Wrong settings exit with [`EX_USAGE`], any other error with 1.
pub fn main<A: Parser>(run: impl FnOnce(A) -> anyhow::Result<ExitCode>) -> ExitCode {
    match parse_arguments().map(run) {
        Ok(Ok(code)) | Err(code) => code,
        Ok(Err(error)) => {
            eprintln!("error: {}", one_line(&error));
            match error.downcast_ref::<SettingsError>() {
                Some(_) => ExitCode::from(EX_USAGE),
                None => ExitCode::FAILURE,
            }
        }
    }
}

/// How long a service may finish what it has in hand: shorter than supervisors commonly wait before
/// they kill (30 s).
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(20);

/// What every service has, beside its work.
#[derive(Clone, Debug)]
pub struct Base {
    /// `[log]`
    pub log: LogSettings,
    /// `[metrics]`
    pub metrics: MetricsSettings,
    /// The port of its metrics, if the settings leave it to the service.
    pub metrics_port: u16,
}

/// Runs a service from its settings to its end: logs, metrics, a runtime, and a token that signals
/// cancel.
///
/// A service that cannot finish what it has in hand, because its server is gone or a stream is
/// full, is ended after 20 s.
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
        start_endpoint(&base.metrics, base.metrics_port, telemetry.clone()).await?;
        end_in_time(run(telemetry, shutdown.clone()), &shutdown, SHUTDOWN_TIMEOUT)
            .await
            .map_err(Into::into)
    });
    // Threads that are still busy are not waited for.
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
            error!("not finished within {} s: ending; what is in hand comes again, to whichever service is there", patience.as_secs());
            Ok(ExitCode::FAILURE)
        }
    }
}

/// The error and its causes, each said once: many libraries repeat the cause in their own message.
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
    async fn a_service_that_cannot_finish_ends_after_a_while_and_no_sooner_than_it_is_told_to() {
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

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// Exit code that a shell reports for a program ended by Ctrl-C.
const INTERRUPTED: i32 = 130;

/// A token that SIGINT, SIGTERM or SIGHUP cancels: finish work in flight and return. A second
/// signal ends the process at once. SIGHUP stays ignored where it is, as under `nohup`.
///
/// Must be called on a tokio runtime. Fails if signal handlers cannot be installed.
pub fn shutdown_on_signals() -> io::Result<CancellationToken> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = if is_hangup_ignored() { None } else { Some(signal(SignalKind::hangup())?) };
    let token = CancellationToken::new();
    let shutdown = token.clone();
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                () = received(hangup.as_mut()) => {}
            }
            if shutdown.is_cancelled() {
                warn!("stopping at once");
                #[expect(
                    clippy::disallowed_methods,
                    reason = "destructors may be what the user does not want to wait for"
                )]
                std::process::exit(INTERRUPTED);
            }
            info!("stopping after work in flight; a second signal stops at once");
            shutdown.cancel();
        }
    });
    Ok(token)
}

async fn received(signal: Option<&mut Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}

/// Whether the parent has set SIGHUP to be ignored, as `nohup` does. Other systems than Linux do
/// not say.
fn is_hangup_ignored() -> bool {
    const HANGUP_BIT: u64 = 1;
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    ignored
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .is_some_and(|mask| mask & HANGUP_BIT != 0)
}

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// Exit code that a shell reports for a program ended by Ctrl-C.
const INTERRUPTED: i32 = 130;

/// A token that SIGINT or SIGTERM cancels: finish work in flight and return. A second signal ends
/// the process at once.
///
/// Must be called on a tokio runtime. Fails if signal handlers cannot be installed.
pub fn shutdown_on_signals() -> io::Result<CancellationToken> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let token = CancellationToken::new();
    let shutdown = token.clone();
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
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

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// What a shell reports of a program that Ctrl-C ended.
const INTERRUPTED: i32 = 130;

/// A token that SIGINT or SIGTERM cancels: time to finish what is in hand and end. A second one
/// ends the process at once.
///
/// Must be called on a tokio runtime. Errors when the system gives no signal handler.
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
                std::process::exit(INTERRUPTED);
            }
            info!("stopping: finishing what is in hand; once more stops at once");
            shutdown.cancel();
        }
    });
    Ok(token)
}

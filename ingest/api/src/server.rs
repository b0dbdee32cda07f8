use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum_server::Handle;
use moliceiro_service::release_memory;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use crate::error::HttpError;
use crate::routes::router;
use crate::settings::HttpSettings;
use crate::state::{ApiState, Backend};
use crate::tls;
use crate::tokens::Tokens;

/// How long requests in flight may take after shutdown has started.
const GRACE: Duration = Duration::from_secs(5);
/// How long memory that an upload took is kept for the next one.
const RELEASE_AFTER: Duration = Duration::from_secs(2);

/// A bound address, and the certificate to use on it.
pub struct Listener {
    socket: TcpListener,
    address: SocketAddr,
    tls: Option<Arc<rustls::ServerConfig>>,
    tokens: Tokens,
}

/// Binds `http.listen`, and reads the certificate and the tokens. `None` if the settings turn HTTP off.
pub fn bind(settings: &HttpSettings) -> Result<Option<Listener>, HttpError> {
    if settings.listen.is_empty() {
        return Ok(None);
    }
    let tls = tls::configuration(settings)?;
    let tokens = Tokens::open(settings).map_err(|reason| {
        let file = settings.tokens_file.as_deref().unwrap_or(Path::new("")).display().to_string();
        HttpError::Tokens { file, reason }
    })?;
    let failed = |source| HttpError::Listen { address: settings.listen.clone(), source };
    let socket = TcpListener::bind(&settings.listen).map_err(failed)?;
    let address = socket.local_addr().map_err(failed)?;
    Ok(Some(Listener { socket, address, tls, tokens }))
}

/// Serves until `shutdown`, then finishes the requests in flight.
pub async fn serve(
    listener: Listener,
    backend: Backend,
    settings: &HttpSettings,
    shutdown: &CancellationToken,
) -> Result<(), HttpError> {
    let Listener { socket, address, tls, tokens } = listener;
    let tokens = Arc::new(tokens);
    let state = Arc::new(ApiState::new(backend, settings, Arc::clone(&tokens), shutdown));
    let (tasks, upload_ended) = (state.tasks.clone(), Arc::clone(&state.upload_ended));
    let handle = Handle::new();
    let service = router(state).into_make_service();
    info!(%address, tls = tls.is_some(), "listening for HTTP");
    let stopping = async {
        shutdown.cancelled().await;
        handle.graceful_shutdown(Some(GRACE));
        std::future::pending().await
    };
    let mut server = axum_server::from_tcp(socket)
        .map_err(HttpError::Failed)?
        .handle(handle.clone())
        .http1_only();
    server.http_builder().http1().header_read_timeout(settings.header_timeout);
    let serving = async {
        match tls {
            Some(config) => {
                server.map(|_| tls::acceptor(config, settings.header_timeout)).serve(service).await
            }
            None => server.serve(service).await,
        }
    };
    tokio::select! {
        served = serving => served.map_err(HttpError::Failed)?,
        () = stopping => {}
        () = tokens.follow() => {}
        () = release_memory_after_uploads(&upload_ended) => {}
    }
    tasks.close();
    if tokio::time::timeout(GRACE, tasks.wait()).await.is_err() {
        debug!("ending with uploads in progress: their bytes expire in the object store");
    }
    Ok(())
}

/// The C library keeps what uploads took for a moment, in pieces of many sizes and for each thread.
async fn release_memory_after_uploads(upload_ended: &Notify) {
    loop {
        upload_ended.notified().await;
        tokio::time::sleep(RELEASE_AFTER).await;
        // It may take some milliseconds.
        drop(tokio::task::spawn_blocking(release_memory).await);
    }
}

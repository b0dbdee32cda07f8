//! Answers requests to check a model that was sent over HTTP: loads it and runs it once.

use std::sync::Arc;
use std::time::Duration;

use async_nats::service::{ServiceExt, endpoint::Endpoint, error::Error};
use bytes::Bytes;
use futures_util::StreamExt;
use moliceiro_nats::messages::{VERSION, from_json, to_json};
use moliceiro_nats::models::{CheckModel, CheckedModel, UNUSABLE};
use moliceiro_nats::{Streams, subjects};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::serving::{LoadError, Loader, estimate, limit};
use crate::trial::TrialError;

/// The name in `nats micro ls`.
const NAME: &str = "moliceiro-detector";
const PAUSE_AFTER_ERROR: Duration = Duration::from_secs(1);
const UNAVAILABLE: usize = 503;

/// Answers until `shutdown`. With several detectors, one of them answers each request.
pub(crate) async fn serve(streams: Arc<Streams>, loader: Arc<Loader>, shutdown: CancellationToken) {
    while !shutdown.is_cancelled() {
        if let Err(error) = serve_once(&streams, &loader, &shutdown).await {
            warn!(%error, "cannot serve the checks of models; retrying");
        }
        shutdown.run_until_cancelled(tokio::time::sleep(PAUSE_AFTER_ERROR)).await;
    }
}

/// Answers until `shutdown`, or until the connection is lost.
async fn serve_once(
    streams: &Streams,
    loader: &Arc<Loader>,
    shutdown: &CancellationToken,
) -> Result<(), async_nats::Error> {
    let client = streams.jetstream.client();
    let service = client.service_builder().description("Checks models");
    let service = service.start(NAME, env!("CARGO_PKG_VERSION")).await?;
    let endpoint = service.endpoint_builder().name("check").add(subjects::CHECK_MODEL_SUBJECT);
    let mut requests = endpoint.await?;
    answer_all(&mut requests, streams, loader, shutdown).await;
    service.stop().await
}

async fn answer_all(
    requests: &mut Endpoint,
    streams: &Streams,
    loader: &Arc<Loader>,
    shutdown: &CancellationToken,
) {
    while let Some(Some(request)) = shutdown.run_until_cancelled(requests.next()).await {
        if request.message.reply.as_deref().is_some_and(subjects::is_reserved) {
            warn!("ignoring a request to check a model whose answer would be another message");
            continue;
        }
        let answer = check(streams, loader, &request.message.payload).await;
        if let Err(error) = request.respond(answer).await {
            warn!(%error, "cannot answer a request to check a model");
        }
    }
}

async fn check(streams: &Streams, loader: &Arc<Loader>, payload: &[u8]) -> Result<Bytes, Error> {
    let error = |code: usize| {
        move |error: &dyn std::fmt::Display| {
            // It becomes a header, which is one line.
            Error { code, status: error.to_string().replace(['\r', '\n'], " ") }
        }
    };
    let request: CheckModel = from_json(payload).map_err(|e| error(UNUSABLE)(&e))?;
    let folder = tempfile::Builder::new().prefix("moliceiro-model-").tempdir();
    let folder = folder.map_err(|e| error(UNAVAILABLE)(&e))?;
    let file = streams.models.fetch_to_check(&request, folder.path()).await;
    let file = file.map_err(|e| error(UNAVAILABLE)(&e))?;
    let bytes = tokio::fs::metadata(&file).await.map_err(|e| error(UNAVAILABLE)(&e))?.len();
    let (needed, limit) = (estimate(bytes, 1), limit(loader.settings()));
    if needed > limit {
        return Err(error(UNUSABLE)(&LoadError::Memory { needed, limit }));
    }
    let (loader, CheckModel { name, manifest, .. }) = (Arc::clone(loader), request);
    let inspected = tokio::task::spawn_blocking(move || loader.try_sent(file, name, manifest));
    let model = match inspected.await.map_err(|e| error(UNUSABLE)(&e))? {
        Ok(model) => model,
        Err(e @ TrialError::Start(_)) => return Err(error(UNAVAILABLE)(&e)),
        Err(e) => return Err(error(UNUSABLE)(&e)),
    };
    Ok(to_json(&CheckedModel { version: VERSION, model }).into())
}

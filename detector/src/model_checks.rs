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

use crate::engine::inspect;
use crate::settings::DetectorSettings;

/// The name in `nats micro ls`.
const NAME: &str = "moliceiro-detector";
const PAUSE_AFTER_ERROR: Duration = Duration::from_secs(1);
const UNAVAILABLE: usize = 503;

/// Answers until `shutdown`. With several detectors, one of them answers each request.
pub(crate) async fn serve(
    streams: Arc<Streams>,
    settings: DetectorSettings,
    shutdown: CancellationToken,
) {
    while !shutdown.is_cancelled() {
        let client = streams.jetstream.client();
        let service = client.service_builder().description("Checks models");
        match service.start(NAME, env!("CARGO_PKG_VERSION")).await {
            Ok(service) => {
                match service
                    .endpoint_builder()
                    .name("check")
                    .add(subjects::CHECK_MODEL_SUBJECT)
                    .await
                {
                    Ok(mut requests) => {
                        answer_all(&mut requests, &streams, &settings, &shutdown).await;
                    }
                    Err(error) => warn!(%error, "cannot subscribe to models to check; retrying"),
                }
                // It fails only if the connection is down.
                service.stop().await.ok();
            }
            Err(error) => warn!(%error, "cannot start the service that checks models; retrying"),
        }
        shutdown.run_until_cancelled(tokio::time::sleep(PAUSE_AFTER_ERROR)).await;
    }
}

async fn answer_all(
    requests: &mut Endpoint,
    streams: &Streams,
    settings: &DetectorSettings,
    shutdown: &CancellationToken,
) {
    while let Some(Some(request)) = shutdown.run_until_cancelled(requests.next()).await {
        let answer = check(streams, settings, &request.message.payload).await;
        if let Err(error) = request.respond(answer).await {
            warn!(%error, "cannot answer a request to check a model");
        }
    }
}

async fn check(
    streams: &Streams,
    settings: &DetectorSettings,
    payload: &[u8],
) -> Result<Bytes, Error> {
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
    let (settings, name) = (settings.clone(), request.name);
    let inspected = tokio::task::spawn_blocking(move || inspect(&settings, &file, name)).await;
    let model = inspected
        .map_err(|e| error(UNUSABLE)(&e))?
        // The file is in a folder that nobody knows.
        .map_err(|e| {
            error(UNUSABLE)(&e.to_string().replace(&*folder.path().to_string_lossy(), ""))
        })?;
    Ok(to_json(&CheckedModel { version: VERSION, model }).into())
}

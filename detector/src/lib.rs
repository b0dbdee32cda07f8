//! The detector service: pulls frames, finds the objects in them with `moliceiro-vision`, and
//! publishes the results.
//!
//! The path of a frame, once [`run`] has loaded the model (`engine`) and opened the streams:
//!
//! 1. `pull` asks for as many frames as `prefetch` permits. Frames that are redelivered are handled
//!    one at a time, as one of them may have killed the detector that had it.
//! 2. `frame_worker` handles one frame and keeps the server informed that it is in progress.
//! 3. `inference` passes it to one of the threads that each own a session, and `analysis` parses
//!    and analyses it there.
//! 4. `frame_worker` publishes the result, or a dead letter. Only then it acknowledges the frame.
//!
//! `metrics` reports all of this, with a log line where there is one.

mod analysis;
mod arguments;
mod engine;
mod error;
mod frame_worker;
mod inference;
pub mod metrics;
mod prefetch;
mod pull;
mod settings;

use std::sync::Arc;

use moliceiro_nats::messages::ModelId;
use moliceiro_service::{Telemetry, connect_streams};
use tokio_util::sync::CancellationToken;

pub use arguments::DetectorArguments;
pub use engine::{check, load_runtime, open_model};
pub use error::DetectorError;
use frame_worker::FrameWorker;
use inference::Inference;
use metrics::Metrics;
pub use settings::{DetectorService, DetectorSettings};

/// Frames in flight for each session: one being analysed, one ready, and those on their way in and
/// out.
const FRAMES_PER_SESSION: usize = 4;

const MODEL_CONDITION: &str = "detector model";

/// Analyses frames until `shutdown`; then finishes those in flight.
pub async fn run(
    service: DetectorService,
    telemetry: Telemetry,
    shutdown: CancellationToken,
) -> Result<(), DetectorError> {
    let metrics = Arc::new(Metrics::new(&mut telemetry.catalogue()));
    telemetry.readiness.not_yet(MODEL_CONDITION, "it is being loaded");
    let inference = start_inference(&service.section).await?;
    telemetry.readiness.met(MODEL_CONDITION);

    let sessions = inference.sessions();
    let max_in_flight = sessions * FRAMES_PER_SESSION;
    let opening = connect_streams(&service, max_in_flight * 2, &telemetry);
    let Some(streams) = shutdown.run_until_cancelled(opening).await.transpose()? else {
        return Ok(());
    };
    metrics.ready(sessions, inference.model().name(), inference.runtime());
    let consumer = streams.detectors(&ModelId::default()).await?;
    let name = service.section.instance_name();
    let worker = FrameWorker::new(streams, consumer, inference, name, metrics);
    pull::run(worker, u32::try_from(max_in_flight).unwrap_or(u32::MAX), &shutdown).await
}

async fn start_inference(settings: &DetectorSettings) -> Result<Inference, DetectorError> {
    let settings = settings.clone();
    tokio::task::spawn_blocking(move || Inference::start(&settings))
        .await
        .unwrap_or(Err(DetectorError::LoadingPanicked))
}

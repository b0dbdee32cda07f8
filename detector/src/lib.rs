//! The detector service: pulls frames, finds the objects in them with `moliceiro-vision`, and
//! publishes the results.
//!
//! The path of a frame, once [`run`] has loaded a model (`engine`) and opened the streams:
//!
//! 1. `pull` asks for as many frames as `prefetch` permits, of each model in turn that `serving` has
//!    loaded because frames wait for it. Frames that are redelivered are handled
//!    one at a time, as one of them may have killed the detector that had it.
//! 2. `frame_worker` handles one frame and keeps the server informed that it is in progress.
//! 3. `inference` passes it to one of the threads that each own a session, and `analysis` parses
//!    and analyses it there.
//! 4. `frame_worker` publishes the result, or a dead letter. Only then it acknowledges the frame.
//!
//! `metrics` reports all of this, with a log line where there is one. `rates` reports to other
//! programs how fast this detector is, so that they can start as many as are needed.

mod analysis;
mod arguments;
mod engine;
mod error;
mod frame_worker;
mod gathering;
mod inference;
pub mod metrics;
mod model_checks;
mod prefetch;
mod pull;
mod rates;
mod serving;
mod settings;
mod trial;

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use moliceiro_nats::messages::ModelId;
use moliceiro_service::{Telemetry, connect_streams};
use moliceiro_vision::Model;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

pub use analysis::Hung;
pub use arguments::DetectorArguments;
pub use engine::{builtin, check, inspect, load_runtime, name_of_file};
pub use error::DetectorError;
use frame_worker::FrameWorker;
use gathering::Gathering;
use inference::{Inference, Sessions};
use metrics::Metrics;
use prefetch::Prefetch;
use serving::{Loader, Serving, Survey};
pub use settings::{DetectorService, DetectorSettings};
pub use trial::{MODEL_TRIAL, TrialCommand, TrialError, model_trial};

/// Frames of each session that are not analysed yet: one being analysed, those ready, and those on
/// their way in.
const FRAMES_PER_SESSION: usize = 6;

/// Results are gathered for at most so long, by the age of their frames.
const GATHER_FOR: RangeInclusive<Duration> =
    Duration::from_millis(100)..=Duration::from_millis(500);
/// As soon as so many results are gathered, they are stored. A detector that is killed charges each
/// of their frames a delivery.
const MOST_GATHERED: usize = 64;

const MODEL_CONDITION: &str = "detector model";

/// Analyses frames until `shutdown`; then finishes those in flight.
pub async fn run(
    service: DetectorService,
    trial: TrialCommand,
    telemetry: Telemetry,
    shutdown: CancellationToken,
) -> Result<(), DetectorError> {
    let metrics = Arc::new(Metrics::new(&mut telemetry.catalogue()));
    telemetry.readiness.not_yet(MODEL_CONDITION, "it is being loaded");
    let settings = &service.section;
    let (loader, preloaded) = preload(settings, trial).await?;
    let inference = Inference::start(loader.sessions(), settings.deadline)?;
    telemetry.readiness.met(MODEL_CONDITION);

    let sessions = inference.sessions();
    let max_in_flight = sessions * FRAMES_PER_SESSION;
    let opening = connect_streams(&service, max_in_flight + MOST_GATHERED, &telemetry);
    let Some(streams) = shutdown.run_until_cancelled(opening).await.transpose()? else {
        return Ok(());
    };
    let streams = Arc::new(streams);
    let runtime = loader.runtime().to_owned();
    let checking = Arc::clone(&loader);
    let wake = Arc::new(Notify::new());
    let mut serving = Serving::new(
        Arc::clone(&streams),
        loader,
        settings,
        Arc::clone(&metrics),
        Arc::clone(&wake),
    );
    if let Some((model, loaded)) = preloaded {
        let consumer = streams.detectors(&model).await?;
        serving.add(model, consumer, loaded);
    }
    metrics.ready(sessions, &settings.models, &runtime);
    let survey = Survey::start(Arc::clone(&streams), wake);
    let checks = model_checks::serve(Arc::clone(&streams), checking, shutdown.child_token());
    // It ends with the shutdown; a check in progress is asked for again.
    tokio::spawn(checks);
    let gathering = Gathering::new(MOST_GATHERED, GATHER_FOR);
    let name = settings.instance_name();
    let sent = Arc::clone(&streams);
    let worker = FrameWorker::new(sent, inference, gathering, name.clone(), Arc::clone(&metrics));
    let [of_all, per_session, held] =
        [sessions, FRAMES_PER_SESSION, MOST_GATHERED].map(|n| u32::try_from(n).unwrap_or(u32::MAX));
    let prefetch = Prefetch::new(of_all, per_session, held);
    let (reports, pulling) = (
        metrics.rates().publish(&streams, &name, sessions, &shutdown),
        Box::pin(pull::run(worker, serving, survey, prefetch, &shutdown)),
    );
    tokio::pin!(reports, pulling);
    tokio::select! {
        ended = &mut pulling => ended,
        () = &mut reports => pulling.await,
    }
}

/// A model that is loaded before the first frame.
type Preloaded = Option<(ModelId, Arc<Sessions>)>;

/// Loads ONNX Runtime and a built-in model, so that the first frames need not wait for that.
async fn preload(
    settings: &DetectorSettings,
    trial: TrialCommand,
) -> Result<(Arc<Loader>, Preloaded), DetectorError> {
    let settings = settings.clone();
    let preload = move || {
        let loader = Loader::start(&settings, trial)?;
        let Some(id) = settings.preloaded() else { return Ok((Arc::new(loader), None)) };
        let model = builtin(&id).unwrap_or_else(Model::builtin);
        info!(
            library = %loader.library(),
            runtime = loader.runtime(),
            model = %id,
            "loading the model"
        );
        if !model.suits_processor() {
            warn!(
                model = %id,
                "this processor lacks the instructions for 8-bit models: this one may be slower \
                 than nanodet, and find other objects"
            );
        }
        let sessions = loader.sessions_of(&model)?;
        Ok((Arc::new(loader), Some((id, Arc::new(sessions)))))
    };
    tokio::task::spawn_blocking(preload).await.unwrap_or(Err(DetectorError::LoadingPanicked))
}

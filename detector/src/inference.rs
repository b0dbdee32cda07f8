use std::thread;

use bytes::Bytes;
use moliceiro_nats::VideoId;
use moliceiro_vision::{Detector, Model};
use tokio::sync::oneshot;
use tracing::{info, warn};

use crate::analysis::{Analysis, AnalysisError, analyse};
use crate::engine::{load_runtime, open_model, options};
use crate::error::DetectorError;
use crate::settings::DetectorSettings;

/// Threads that each own a session, fed by one bounded queue.
pub(crate) struct Inference {
    jobs: async_channel::Sender<Job>,
    sessions: usize,
    model: Model,
    runtime: String,
}

struct Job {
    video: VideoId,
    index: u64,
    payload: Bytes,
    reply: oneshot::Sender<Result<Analysis, AnalysisError>>,
}

/// What became of a frame in [`Inference::analyse`].
pub(crate) enum Outcome {
    Analysed(Analysis),
    Failed(AnalysisError),
    /// The thread that had the frame panicked. This detector must end.
    ThreadDied,
}

impl Inference {
    /// Loads the model once for each session. Blocks until that is done.
    pub(crate) fn start(settings: &DetectorSettings) -> Result<Self, DetectorError> {
        let sessions = settings.session_count();
        let mut model = open_model(settings)?;
        let runtime = load_runtime(settings)?;
        info!(
            library = %runtime.library().display(),
            runtime = runtime.description(),
            model = model.name(),
            "loading the model"
        );
        if !model.suits_processor() {
            warn!(
                model = model.name(),
                "this processor lacks the instructions for 8-bit models: this one may be slower \
                 than nanodet, and find other objects"
            );
        }
        let (jobs, queue) = async_channel::bounded::<Job>(sessions);
        for number in 0..sessions {
            let mut detector = Detector::new(&runtime, &model, options(settings))?;
            // The next sessions need not find out again how the model is to be read.
            model = detector.model().clone();
            let queue = queue.clone();
            let analyse_all = move || {
                while let Ok(Job { video, index, payload, reply }) = queue.recv_blocking() {
                    // It fails when the service ends and has dropped the receiver: then the frame
                    // goes to another detector.
                    reply.send(analyse(&mut detector, &video, index, &payload)).ok();
                }
            };
            thread::Builder::new()
                .name(format!("inference-{number}"))
                .spawn(analyse_all)
                .map_err(DetectorError::Thread)?;
        }
        Ok(Self { jobs, sessions, model, runtime: runtime.description().to_owned() })
    }

    /// Frames that are analysed at the same time.
    pub(crate) fn sessions(&self) -> usize {
        self.sessions
    }

    /// The description of the ONNX Runtime.
    pub(crate) fn runtime(&self) -> &str {
        &self.runtime
    }

    pub(crate) fn model(&self) -> &Model {
        &self.model
    }

    /// Analyses a frame as soon as a session is free.
    pub(crate) async fn analyse(&self, video: VideoId, index: u64, payload: Bytes) -> Outcome {
        let (reply, answer) = oneshot::channel();
        if self.jobs.send(Job { video, index, payload, reply }).await.is_err() {
            return Outcome::ThreadDied;
        }
        match answer.await {
            Ok(Ok(analysis)) => Outcome::Analysed(analysis),
            Ok(Err(error)) => Outcome::Failed(error),
            Err(_) => Outcome::ThreadDied,
        }
    }
}

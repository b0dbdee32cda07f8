use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use bytes::Bytes;
use moliceiro_nats::VideoId;
use moliceiro_vision::{Detector, Model, ModelError, Options, Runtime};
use tokio::sync::oneshot;

use crate::analysis::{Analysis, AnalysisError, analyse};
use crate::error::DetectorError;

/// Threads that analyse one frame each, fed by one bounded queue. They share the models.
pub(crate) struct Inference {
    jobs: async_channel::Sender<Job>,
    sessions: usize,
}

/// A model with a session for each thread, so that none ever waits for one.
pub(crate) struct Sessions {
    free: Mutex<Vec<Detector>>,
}

struct Job {
    sessions: Arc<Sessions>,
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

impl Sessions {
    /// Loads the model once for each session, and runs each once. Blocks until that is done.
    pub(crate) fn load(
        runtime: &Runtime,
        model: &Model,
        options: Options,
        sessions: usize,
    ) -> Result<Self, ModelError> {
        let mut model = model.clone();
        let mut free = Vec::with_capacity(sessions);
        for _ in 0..sessions {
            let detector = Detector::new(runtime, &model, options)?;
            // The next sessions need not find out again how the model is to be read.
            model = detector.model().clone();
            free.push(detector);
        }
        Ok(Self { free: Mutex::new(free) })
    }

    fn take(&self) -> Option<Detector> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    fn put_back(&self, detector: Detector) {
        self.free.lock().unwrap_or_else(PoisonError::into_inner).push(detector);
    }
}

impl Inference {
    pub(crate) fn start(sessions: usize) -> Result<Self, DetectorError> {
        let (jobs, queue) = async_channel::bounded::<Job>(sessions);
        for number in 0..sessions {
            let queue = queue.clone();
            let analyse_all = move || {
                while let Ok(job) = queue.recv_blocking() {
                    let Job { sessions, video, index, payload, reply } = job;
                    // There is none only if a thread died with it: then the detector ends.
                    let Some(mut detector) = sessions.take() else { continue };
                    let analysis = analyse(&mut detector, &video, index, &payload);
                    sessions.put_back(detector);
                    // A model that is unloaded meanwhile must be free before its frame counts.
                    drop(sessions);
                    // It fails when the service ends and has dropped the receiver: then the frame
                    // goes to another detector.
                    reply.send(analysis).ok();
                }
            };
            thread::Builder::new()
                .name(format!("inference-{number}"))
                .spawn(analyse_all)
                .map_err(DetectorError::Thread)?;
        }
        Ok(Self { jobs, sessions })
    }

    /// Frames that are analysed at the same time.
    pub(crate) fn sessions(&self) -> usize {
        self.sessions
    }

    /// Analyses a frame as soon as a thread is free.
    pub(crate) async fn analyse(
        &self,
        sessions: Arc<Sessions>,
        video: VideoId,
        index: u64,
        payload: Bytes,
    ) -> Outcome {
        let (reply, answer) = oneshot::channel();
        if self.jobs.send(Job { sessions, video, index, payload, reply }).await.is_err() {
            return Outcome::ThreadDied;
        }
        match answer.await {
            Ok(Ok(analysis)) => Outcome::Analysed(analysis),
            Ok(Err(error)) => Outcome::Failed(error),
            Err(_) => Outcome::ThreadDied,
        }
    }
}

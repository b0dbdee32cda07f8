use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use moliceiro_nats::VideoId;
use moliceiro_vision::{Detector, Model, ModelError, Options, Runtime};
use tokio::sync::oneshot;

use crate::analysis::{Analysis, AnalysisError, analyse};
use crate::error::DetectorError;

/// A frame may take this many times as long as the slowest one so far, and at least
/// [`LEAST_DEADLINE`]: far longer than on a machine that is merely busy.
const DEADLINE_FACTOR: u32 = 100;
pub(crate) const LEAST_DEADLINE: Duration = Duration::from_secs(60);
/// A deadline is waited for in so many parts. Each ends at once after a time in which this process
/// was stopped, and with it the inference: only one of them is lost to that.
const DEADLINE_PARTS: u32 = 60;

/// Threads that analyse one frame each, fed by one bounded queue. They share the models.
pub(crate) struct Inference {
    jobs: async_channel::Sender<Job>,
    sessions: usize,
    /// How long an analysis may take, if the settings say.
    deadline: Option<Duration>,
}

/// A model with a session for each thread, so that none ever waits for one.
pub(crate) struct Sessions {
    free: Mutex<Vec<Detector>>,
    /// Microseconds that the slowest analysis took, or loading a session and running it once.
    slowest: AtomicU64,
}

struct Job {
    sessions: Arc<Sessions>,
    video: VideoId,
    index: u64,
    payload: Bytes,
    /// Sent when a thread has taken the frame.
    started: oneshot::Sender<()>,
    reply: oneshot::Sender<Result<Analysis, AnalysisError>>,
}

/// What became of a frame in [`Inference::analyse`].
pub(crate) enum Outcome {
    Analysed(Analysis),
    Failed(AnalysisError),
    /// The thread that had the frame panicked. This detector must end.
    ThreadDied,
    /// The analysis takes longer than this, which no analysis should. This detector must end.
    Hung(Duration),
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
        let mut slowest = Duration::ZERO;
        for _ in 0..sessions {
            let started = Instant::now();
            let detector = Detector::new(runtime, &model, options)?;
            // The next sessions need not find out again how the model is to be read.
            model = detector.model().clone();
            free.push(detector);
            slowest = slowest.max(started.elapsed());
        }
        Ok(Self { free: Mutex::new(free), slowest: AtomicU64::new(microseconds(slowest)) })
    }

    fn took(&self, time: Duration) {
        self.slowest.fetch_max(microseconds(time), Ordering::Relaxed);
    }

    fn default_deadline(&self) -> Duration {
        let slowest = Duration::from_micros(self.slowest.load(Ordering::Relaxed));
        slowest.saturating_mul(DEADLINE_FACTOR).max(LEAST_DEADLINE)
    }

    fn take(&self) -> Option<Detector> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    fn put_back(&self, detector: Detector) {
        self.free.lock().unwrap_or_else(PoisonError::into_inner).push(detector);
    }
}

impl Inference {
    /// Without a `deadline`, it follows from how long the analyses take.
    pub(crate) fn start(
        sessions: usize,
        deadline: Option<Duration>,
    ) -> Result<Self, DetectorError> {
        let (jobs, queue) = async_channel::bounded::<Job>(sessions);
        for number in 0..sessions {
            let queue = queue.clone();
            let analyse_all = move || {
                while let Ok(job) = queue.recv_blocking() {
                    let Job { sessions, video, index, payload, started, reply } = job;
                    // There is none only if a thread died with it: then the detector ends.
                    let Some(mut detector) = sessions.take() else { continue };
                    // It fails like the reply below.
                    started.send(()).ok();
                    let begin = Instant::now();
                    let analysis = analyse(&mut detector, &video, index, &payload);
                    sessions.took(begin.elapsed());
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
        Ok(Self { jobs, sessions, deadline })
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
        let (started, start) = oneshot::channel();
        let (reply, answer) = oneshot::channel();
        let deadline = self.deadline.unwrap_or_else(|| sessions.default_deadline());
        let job = Job { sessions, video, index, payload, started, reply };
        if self.jobs.send(job).await.is_err() || start.await.is_err() {
            return Outcome::ThreadDied;
        }
        match within(deadline, answer).await {
            Some(Ok(Ok(analysis))) => Outcome::Analysed(analysis),
            Some(Ok(Err(error))) => Outcome::Failed(error),
            Some(Err(_)) => Outcome::ThreadDied,
            None => Outcome::Hung(deadline),
        }
    }
}

/// What `work` returns, or `None` if this process has worked on it for longer than `deadline`.
async fn within<T>(deadline: Duration, work: impl Future<Output = T>) -> Option<T> {
    let mut work = pin!(work);
    for _ in 0..DEADLINE_PARTS {
        if let Ok(done) = tokio::time::timeout(deadline / DEADLINE_PARTS, &mut work).await {
            return Some(done);
        }
    }
    None
}

fn microseconds(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::Message;
use futures_util::StreamExt;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

use crate::error::DetectorError;
use crate::frame_worker::{FrameWorker, deliveries};
use crate::prefetch::{Permits, Prefetch};
use crate::serving::{Served, Serving, Survey};

/// How long a pull waits for frames. At the end, the last pull is waited for, so that every frame
/// that the server delivers to it is handled.
const PULL_EXPIRY: Duration = Duration::from_millis(250);
/// The same while a model is being loaded, which is to be used at once.
const SHORT_EXPIRY: Duration = Duration::from_millis(50);
/// A server that stops does not end a pull that takes only what waits already.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the frames in flight in other sessions may take when one does not end.
const GRACE: Duration = Duration::from_secs(5);
const PAUSE_AFTER_ERROR: Duration = Duration::from_secs(1);

/// Pulls as many frames as may be in flight, until `shutdown`; then finishes those.
pub(crate) async fn run(
    worker: FrameWorker,
    mut serving: Serving,
    mut survey: Survey,
    prefetch: Prefetch,
    shutdown: &CancellationToken,
) -> Result<(), DetectorError> {
    let puller = Puller { worker: Arc::new(worker), prefetch: Arc::new(prefetch) };
    let broken = puller.worker.broken();
    let tasks = TaskTracker::new();
    // Pulls in a row that returned nothing.
    let mut empty = 0;
    while !shutdown.is_cancelled() && !broken.is_cancelled() {
        while let Some(model) = survey.added() {
            serving.expect(model).await;
        }
        if let Some(consumers) = survey.latest() {
            serving.adjust(&consumers).await;
        }
        let Some(served) = serving.next() else {
            tokio::select! {
                () = survey.changed() => continue,
                () = shutdown.cancelled() => break,
            }
        };
        let models = serving.len();
        // A slow model must not hold up others, or one that is being loaded.
        let several = models == 1 && !serving.is_changing();
        let permits = tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            () = broken.cancelled() => break,
            permits = puller.prefetch.acquire(puller.worker.frame_time(), several) => permits,
            () = survey.changed(), if several => continue,
        };
        // With several models, one that has no frames must not hold up those that have.
        let expiry = if serving.is_changing() { SHORT_EXPIRY } else { PULL_EXPIRY };
        let expiry =
            (models == 1 || empty >= models).then(|| expiry / u32::try_from(models).unwrap_or(1));
        let (pulled, redelivered) = puller.pull(&served, permits, expiry, &tasks).await;
        if pulled > 0 {
            serving.used(&served.model);
            empty = 0;
        } else {
            empty += 1;
        }
        if !redelivered.is_empty() {
            tokio::select! {
                () = puller.handle_alone(&served, redelivered) => {}
                // What it waits for may never end.
                () = broken.cancelled() => break,
            }
        }
    }
    tasks.close();
    tokio::select! {
        () = tasks.wait() => {}
        () = async {
            broken.cancelled().await;
            tokio::time::sleep(GRACE).await;
        } => {}
    }
    puller.worker.flush().await;
    if let Some(hung) = puller.worker.hung() {
        return Err(DetectorError::Hung(hung.clone()));
    }
    if broken.is_cancelled() { Err(DetectorError::ThreadDied) } else { Ok(()) }
}

struct Puller {
    worker: Arc<FrameWorker>,
    prefetch: Arc<Prefetch>,
}

impl Puller {
    /// Pulls a frame for each permit, and spawns a task for each frame at its first delivery, which
    /// holds its permit. Without an expiry, takes only what waits already. Returns how many frames
    /// there were, and the redelivered ones.
    async fn pull(
        &self,
        served: &Arc<Served>,
        mut permits: Permits,
        expiry: Option<Duration>,
        tasks: &TaskTracker,
    ) -> (usize, Vec<Message>) {
        let Self { worker, prefetch } = self;
        let mut redelivered = Vec::new();
        let frames = permits.frames();
        let messages = match expiry {
            Some(expiry) => {
                served.consumer.batch().max_messages(frames).expires(expiry).messages().await
            }
            None => served.consumer.fetch().max_messages(frames).messages().await,
        };
        let mut messages = match messages {
            Ok(messages) => messages,
            Err(error) => {
                warn!(%error, "cannot pull frames; trying again");
                tokio::time::sleep(PAUSE_AFTER_ERROR).await;
                return (0, redelivered);
            }
        };
        let mut pulled = 0;
        loop {
            let next = tokio::time::timeout(ANSWER_TIMEOUT, messages.next());
            let Ok(Some(next)) = worker.keep_in_progress(served, &redelivered, next).await else {
                break;
            };
            worker.ack_progress(&redelivered).await;
            let message = match next {
                Ok(message) => message,
                Err(error) => {
                    warn!(%error, "a pull of frames failed");
                    tokio::time::sleep(PAUSE_AFTER_ERROR).await;
                    continue;
                }
            };
            worker.metrics().frame_pulled(&message);
            pulled += 1;
            if deliveries(&message) > 1 {
                redelivered.push(message);
                continue;
            }
            let (worker, prefetch) = (worker.clone(), prefetch.clone());
            let (served, permit) = (Arc::clone(served), permits.take_one());
            tasks.spawn(async move {
                let (slot, unsettled) = permit.map(Permits::into_parts).unzip();
                worker.handle(&served, message, slot).await;
                prefetch.grow();
                drop(unsettled);
            });
        }
        worker.metrics().pulled(pulled);
        (pulled, redelivered)
    }

    /// Handles redelivered frames: one after the other, with nothing else in flight.
    async fn handle_alone(&self, served: &Served, redelivered: Vec<Message>) {
        let Self { worker, prefetch } = self;
        let permits = worker.keep_in_progress(served, &redelivered, prefetch.acquire_all()).await;
        let mut suspects = in_turn(redelivered).into_iter();
        while let Some(message) = suspects.next() {
            let waiting = suspects.as_slice();
            worker.ack_progress(waiting).await;
            worker.keep_in_progress(served, waiting, worker.handle(served, message, None)).await;
            if worker.broken().is_cancelled() {
                break;
            }
        }
        prefetch.restrict();
        drop(permits);
    }
}

/// The order in which to analyse redelivered frames, one of which may be deadly.
///
/// Frames that were in flight together are redelivered together. The order is reversed at every
/// other delivery: so each has been before the deadly one at its third delivery at the latest.
fn in_turn(mut redelivered: Vec<Message>) -> Vec<Message> {
    redelivered.sort_by_key(|message| {
        let sequence = message.info().map_or(0, |info| info.stream_sequence);
        if deliveries(message).is_multiple_of(2) { u64::MAX - sequence } else { sequence }
    });
    redelivered
}

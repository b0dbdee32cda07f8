use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::{AckKind, Message};
use futures_util::StreamExt;
use moliceiro_nats::Streams;
use moliceiro_nats::dead::{FrameIdentity, bury};
use moliceiro_nats::messages::{Event, Failed, FrameResult};
use moliceiro_nats::publish::{StoreError, store_event};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use crate::DetectorError;
use crate::inference::{Inference, Looked};
use crate::settings::DetectorService;

/// How long a pull waits for frames. At the end the last pull is waited for, so that no frame is handed to nobody.
const PULL_EXPIRY: Duration = Duration::from_millis(250);
const PAUSE_AFTER_ERROR: Duration = Duration::from_secs(1);
const RETRY: Duration = Duration::from_secs(1);

/// What the handling of each frame needs.
struct Desk {
    streams: Streams,
    inference: Inference,
    name: String,
    ack_wait: Duration,
    max_deliver: u64,
    /// Cancelled when an inference thread died.
    broken: CancellationToken,
}

/// Pulls as many frames as there are free places, until `shutdown`; then finishes those in hand.
pub(crate) async fn run(
    streams: Streams,
    service: &DetectorService,
    inference: Inference,
    in_hand: usize,
    shutdown: &CancellationToken,
) -> Result<(), DetectorError> {
    let desk = Arc::new(Desk {
        streams,
        inference,
        name: service.detector.instance_name(),
        ack_wait: service.streams.frame_ack_wait,
        max_deliver: service.streams.frame_max_deliver,
        broken: CancellationToken::new(),
    });
    let places = Arc::new(Semaphore::new(in_hand));
    let tasks = TaskTracker::new();
    while !shutdown.is_cancelled() && !desk.broken.is_cancelled() {
        let stop = async {
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = desk.broken.cancelled() => {}
            }
        };
        let free = tokio::select! {
            free = take_free(&places, in_hand) => free,
            () = stop => break,
        };
        pull(&desk, free, &tasks).await;
    }
    tasks.close();
    tasks.wait().await;
    if desk.broken.is_cancelled() { Err(DetectorError::ThreadDied) } else { Ok(()) }
}

/// Waits for a free place, and takes all that are free.
async fn take_free(places: &Arc<Semaphore>, most: usize) -> Vec<OwnedSemaphorePermit> {
    let mut free: Vec<_> = places.clone().acquire_owned().await.into_iter().collect();
    while free.len() < most
        && let Ok(place) = places.clone().try_acquire_owned()
    {
        free.push(place);
    }
    free
}

async fn pull(desk: &Arc<Desk>, mut free: Vec<OwnedSemaphorePermit>, tasks: &TaskTracker) {
    let batch = desk.streams.detectors.batch().max_messages(free.len()).expires(PULL_EXPIRY).messages().await;
    let mut messages = match batch {
        Ok(messages) => messages,
        Err(error) => {
            warn!(%error, "cannot pull frames; trying again");
            return tokio::time::sleep(PAUSE_AFTER_ERROR).await;
        }
    };
    while let Some(next) = messages.next().await {
        match next {
            Ok(message) => {
                let (desk, place) = (desk.clone(), free.pop());
                tasks.spawn(async move {
                    desk.handle(message).await;
                    drop(place);
                });
            }
            Err(error) => {
                warn!(%error, "trouble while pulling frames");
                tokio::time::sleep(PAUSE_AFTER_ERROR).await;
            }
        }
    }
}

/// What becomes of a frame's message.
enum Verdict {
    /// Its result is stored.
    Ack,
    /// No detector can ever look at it, and that is stored.
    Drop,
    /// Another delivery may do better.
    Retry,
    /// This detector is broken: the frame is left to others.
    Leave,
}

impl Desk {
    async fn handle(&self, message: Message) {
        let in_work = async {
            let mut ticks = tokio::time::interval(self.ack_wait / 3);
            ticks.tick().await;
            loop {
                ticks.tick().await;
                if let Err(error) = message.ack_with(AckKind::Progress).await {
                    warn!(%error, "cannot tell the server that a frame is in work");
                }
            }
        };
        let verdict = tokio::select! {
            verdict = self.look(&message) => verdict,
            () = in_work => unreachable!("progress is told for ever"),
        };
        let done = match verdict {
            Ok(Verdict::Ack) => message.ack().await,
            Ok(Verdict::Drop) => message.ack_with(AckKind::Term).await,
            Ok(Verdict::Retry) => message.ack_with(AckKind::Nak(Some(RETRY))).await,
            Ok(Verdict::Leave) => return self.broken.cancel(),
            Err(error) => {
                warn!(subject = %message.subject, %error, "a frame's result cannot be stored");
                message.ack_with(AckKind::Nak(Some(RETRY))).await
            }
        };
        if let Err(error) = done {
            warn!(%error, "cannot acknowledge a frame: it will come again, and be counted once");
        }
    }

    async fn look(&self, message: &Message) -> Result<Verdict, StoreError> {
        let Some(frame) = FrameIdentity::of(&message.subject, message.headers.as_ref()) else {
            warn!(subject = %message.subject, "dropping a message from the frame queue that is no frame");
            return Ok(Verdict::Drop);
        };
        let (video, index) = (&frame.video, frame.index);
        let deliveries = message.info().map_or(1, |info| u64::try_from(info.delivered).unwrap_or(1));
        match self.inference.look(video.clone(), index, message.payload.clone()).await {
            Some(Looked::Found { pts, detections, size, processing_us }) => {
                debug!(%video, frame = index, processing_us, found = detections.len(), "frame done");
                let result = FrameResult { index, pts, detections, size: Some(size), processing_us, detector: self.name.clone() };
                store_event(&self.streams.jetstream, video, Some(&frame.message_id), Event::Frame(result)).await?;
                Ok(Verdict::Ack)
            }
            Some(Looked::Failed(reason)) if deliveries < self.max_deliver => {
                warn!(%video, frame = index, reason, deliveries, "a frame failed; trying again");
                Ok(Verdict::Retry)
            }
            Some(Looked::Failed(reason) | Looked::Impossible(reason)) => {
                warn!(%video, frame = index, reason, deliveries, "giving up a frame");
                let failed = Failed { index, reason, detector: Some(self.name.clone()), deliveries };
                bury(&self.streams.jetstream, &frame, &failed, message.payload.clone()).await?;
                Ok(Verdict::Drop)
            }
            None => Ok(Verdict::Leave),
        }
    }
}

use std::slice;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::jetstream::{AckKind, Message};
use futures_util::StreamExt;
use moliceiro_nats::dead::{FrameIdentity, dead_letter};
use moliceiro_nats::messages::{Event, Failed, FrameResult};
use moliceiro_nats::publish::StoreError;
use moliceiro_nats::{Streams, subjects};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

use crate::DetectorError;
use crate::hand::{Hand, Places};
use crate::inference::{Inference, Looked};
use crate::report;
use crate::settings::DetectorService;

/// How long a pull waits for frames. At the end the last pull is waited for, so that no frame is
/// handed to nobody.
const PULL_EXPIRY: Duration = Duration::from_millis(250);
const PAUSE_AFTER_ERROR: Duration = Duration::from_secs(1);
const RETRY: Duration = Duration::from_secs(1);

/// What the handling of each frame needs.
struct Desk {
    streams: Streams,
    inference: Inference,
    hand: Hand,
    name: String,
    ack_wait: Duration,
    max_deliver: u64,
    /// Cancelled when an inference thread died.
    broken: CancellationToken,
}

/// Pulls as many frames as it may have in hand, until `shutdown`; then finishes those.
pub(crate) async fn run(
    streams: Streams,
    service: &DetectorService,
    inference: Inference,
    in_hand: u32,
    shutdown: &CancellationToken,
) -> Result<(), DetectorError> {
    // What the server has, which may not be what this service's settings say.
    let consumer = &streams.detectors.cached_info().config;
    let desk = Arc::new(Desk {
        inference,
        hand: Hand::new(in_hand),
        name: service.detector.instance_name(),
        ack_wait: consumer.ack_wait,
        // Without a limit, it is -1.
        max_deliver: u64::try_from(consumer.max_deliver).unwrap_or(u64::MAX),
        streams,
        broken: CancellationToken::new(),
    });
    let tasks = TaskTracker::new();
    while !shutdown.is_cancelled() && !desk.broken.is_cancelled() {
        let stop = async {
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = desk.broken.cancelled() => {}
            }
        };
        let free = tokio::select! {
            free = desk.hand.free() => free,
            () = stop => break,
        };
        let again = pull(&desk, free, &tasks).await;
        if !again.is_empty() {
            desk.handle_alone(again).await;
        }
    }
    tasks.close();
    tasks.wait().await;
    desk.streams.flush().await;
    if desk.broken.is_cancelled() { Err(DetectorError::ThreadDied) } else { Ok(()) }
}

/// Pulls a frame for each free place, and begins those that come for the first time. Gives those
/// that came again.
async fn pull(desk: &Arc<Desk>, mut free: Places, tasks: &TaskTracker) -> Vec<Message> {
    let mut again = Vec::new();
    let batch = desk
        .streams
        .detectors
        .batch()
        .max_messages(free.num_permits())
        .expires(PULL_EXPIRY)
        .messages()
        .await;
    let mut messages = match batch {
        Ok(messages) => messages,
        Err(error) => {
            warn!(%error, "cannot pull frames; trying again");
            tokio::time::sleep(PAUSE_AFTER_ERROR).await;
            return again;
        }
    };
    let mut pulled = 0;
    while let Some(next) = desk.meanwhile_in_work(&again, messages.next()).await {
        desk.tell_in_work(&again).await;
        if let Ok(message) = &next {
            report::frame_pulled(message);
            pulled += 1;
        }
        match next {
            Ok(message) if deliveries(&message) > 1 => again.push(message),
            Ok(message) => {
                let (desk, place) = (desk.clone(), free.split(1));
                tasks.spawn(async move {
                    desk.handle(&message).await;
                    desk.hand.trust();
                    drop(place);
                });
            }
            Err(error) => {
                warn!(%error, "trouble while pulling frames");
                tokio::time::sleep(PAUSE_AFTER_ERROR).await;
            }
        }
    }
    report::pulled(pulled);
    again
}

/// How often the frame was handed out, with this time.
fn deliveries(message: &Message) -> u64 {
    message.info().map_or(1, |info| u64::try_from(info.delivered).unwrap_or(1))
}

/// The order in which to look at frames that came again, of which one may be deadly.
///
/// Those that died together come again together. Every other time the order is reversed: so each
/// has been before the deadly one at its third delivery at the latest.
fn in_turn(mut again: Vec<Message>) -> Vec<Message> {
    again.sort_by_key(|message| {
        let sequence = message.info().map_or(0, |info| info.stream_sequence);
        if deliveries(message).is_multiple_of(2) { u64::MAX - sequence } else { sequence }
    });
    again
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
    /// Looks at frames that came again: one after the other, with nothing else in hand.
    async fn handle_alone(&self, again: Vec<Message>) {
        let places = self.meanwhile_in_work(&again, self.hand.all()).await;
        let again = in_turn(again);
        for (turn, message) in again.iter().enumerate() {
            let waiting = &again[turn + 1..];
            self.tell_in_work(waiting).await;
            self.meanwhile_in_work(waiting, self.handle(message)).await;
            if self.broken.is_cancelled() {
                break;
            }
        }
        self.hand.distrust();
        drop(places);
    }

    /// Tells the server now and then that these frames are in work, until `done`.
    async fn meanwhile_in_work<T>(&self, frames: &[Message], done: impl Future<Output = T>) -> T {
        let in_work = async {
            let mut ticks = tokio::time::interval(self.ack_wait / 3);
            ticks.tick().await;
            loop {
                ticks.tick().await;
                self.tell_in_work(frames).await;
            }
        };
        tokio::select! {
            done = done => done,
            () = in_work => unreachable!("progress is told for ever"),
        }
    }

    async fn tell_in_work(&self, frames: &[Message]) {
        for message in frames {
            if let Err(error) = message.ack_with(AckKind::Progress).await {
                warn!(%error, "cannot tell the server that a frame is in work");
            }
        }
    }

    /// Nobody else could say who had the frame last, if this process dies of it.
    async fn leave_name(&self, frame: &FrameIdentity) {
        let (video, index) = (&frame.video, frame.index);
        if let Err(error) = self
            .streams
            .attempts
            .put(subjects::attempt(video, index), self.name.clone().into())
            .await
        {
            warn!(%video, frame = index, %error, "cannot leave a name before a frame's last delivery");
        }
    }

    async fn handle(&self, message: &Message) {
        let _in_hand = report::InHand::new();
        let verdict = self.meanwhile_in_work(slice::from_ref(message), self.look(message)).await;
        let done = match verdict {
            Ok(Verdict::Ack) => message.ack().await,
            Ok(Verdict::Drop) => message.ack_with(AckKind::Term).await,
            Ok(Verdict::Retry) => message.ack_with(AckKind::Nak(Some(RETRY))).await,
            Ok(Verdict::Leave) => return self.broken.cancel(),
            Err(error) => {
                report::result_not_stored(
                    FrameIdentity::of(&message.subject, message.headers.as_ref()).as_ref(),
                    &error,
                );
                message.ack_with(AckKind::Nak(Some(RETRY))).await
            }
        };
        if let Err(error) = done {
            warn!(%error, "cannot acknowledge a frame: it will come again, and be counted once");
        }
    }

    async fn look(&self, message: &Message) -> Result<Verdict, StoreError> {
        let Some(frame) = FrameIdentity::of(&message.subject, message.headers.as_ref()) else {
            report::no_frame(&message.subject);
            return Ok(Verdict::Drop);
        };
        let (video, index) = (&frame.video, frame.index);
        let deliveries = deliveries(message);
        if deliveries > 1 && deliveries >= self.max_deliver {
            self.leave_name(&frame).await;
        }
        match self.inference.look(video.clone(), index, message.payload.clone()).await {
            Some(Looked::Found { pts, decoded_at, detections, size, processing_us }) => {
                let (found, began) = (detections.len(), Instant::now());
                let (size, detector) = (Some(size), self.name.clone());
                let model = Some(self.inference.model().short_name().to_owned());
                let result = FrameResult {
                    index,
                    pts,
                    decoded_at,
                    detections,
                    size,
                    processing_us,
                    detector,
                    model,
                };
                self.streams
                    .publisher
                    .publish_event(video, Some(&frame.message_id), Event::Frame(result))
                    .await?;
                report::frame_done(video, index, found, processing_us, began.elapsed());
                Ok(Verdict::Ack)
            }
            Some(Looked::Failed(reason)) if deliveries < self.max_deliver => {
                report::frame_retried(video, index, &reason, deliveries);
                Ok(Verdict::Retry)
            }
            Some(Looked::Failed(reason) | Looked::Impossible(reason)) => {
                let failed =
                    Failed { index, reason, detector: Some(self.name.clone()), deliveries };
                report::frame_dead(video, &failed);
                dead_letter(&self.streams.publisher, &frame, &failed, message.payload.clone())
                    .await?;
                Ok(Verdict::Drop)
            }
            None => {
                report::frame_left(video, index);
                Ok(Verdict::Leave)
            }
        }
    }
}

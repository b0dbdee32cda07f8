use std::slice;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use async_nats::jetstream::{AckKind, Message};
use bytes::Bytes;
use moliceiro_nats::dead::{FrameIdentity, dead_letter};
use moliceiro_nats::messages::{Event, Failed, FrameResult};
use moliceiro_nats::publish::StoreError;
use moliceiro_nats::{Streams, subjects};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::analysis::{Analysis, AnalysisError, Hung};
use crate::gathering::Gathering;
use crate::inference::{Inference, Outcome};
use crate::metrics::Metrics;
use crate::prefetch::Slots;
use crate::serving::Served;

const RETRY_DELAY: Duration = Duration::from_secs(1);

/// Handles frames, each from its delivery to its acknowledgement.
pub(crate) struct FrameWorker {
    streams: Arc<Streams>,
    inference: Inference,
    gathering: Gathering,
    /// The detector's name in results.
    name: String,
    metrics: Arc<Metrics>,
    /// Microseconds that a session took for the latest frame.
    frame_time: AtomicU64,
    /// Cancelled when an inference thread died, or an analysis does not end.
    broken: CancellationToken,
    hung: OnceLock<Hung>,
}

/// What becomes of a frame's message.
enum Disposition {
    /// Its result is stored.
    Done,
    /// It will never have a result: it is a dead letter, or not a frame.
    Discard,
    /// Another delivery may succeed.
    Retry,
    /// This detector is broken. The server delivers the frame to another after `ack_wait`.
    Abandon,
}

/// How often the message was delivered, including this time.
pub(crate) fn deliveries(message: &Message) -> u64 {
    message.info().map_or(1, |info| u64::try_from(info.delivered).unwrap_or(1))
}

impl FrameWorker {
    pub fn new(
        streams: Arc<Streams>,
        inference: Inference,
        gathering: Gathering,
        name: String,
        metrics: Arc<Metrics>,
    ) -> Self {
        let (broken, hung) = (CancellationToken::new(), OnceLock::new());
        let frame_time = AtomicU64::new(0);
        Self { streams, inference, gathering, name, metrics, frame_time, broken, hung }
    }

    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// What a session takes for a frame, of the slowest model that had one lately; 0 before the first.
    pub fn frame_time(&self) -> Duration {
        Duration::from_micros(self.frame_time.load(Ordering::Relaxed))
    }

    /// The frame whose analysis does not end, if there is one.
    pub fn hung(&self) -> Option<&Hung> {
        self.hung.get()
    }

    /// Cancelled when an inference thread died or does not end: then this detector must end.
    pub fn broken(&self) -> &CancellationToken {
        &self.broken
    }

    /// Waits until the server has everything that was sent to it, acknowledgements included.
    pub async fn flush(&self) {
        self.streams.flush().await;
    }

    /// Repeats [`ack_progress`](Self::ack_progress) until `work` is done, so that the server does
    /// not redeliver these frames.
    pub async fn keep_in_progress<T>(
        &self,
        served: &Served,
        frames: &[Message],
        work: impl Future<Output = T>,
    ) -> T {
        let progress = async {
            let mut ticks = tokio::time::interval(served.ack_wait / 3);
            ticks.tick().await;
            loop {
                ticks.tick().await;
                self.ack_progress(frames).await;
            }
        };
        tokio::select! {
            done = work => done,
            () = progress => unreachable!("the loop has no end"),
        }
    }

    /// Reports to the server that these frames are in progress: their `ack_wait` starts again.
    pub async fn ack_progress(&self, frames: &[Message]) {
        for message in frames {
            if let Err(error) = message.ack_with(AckKind::Progress).await {
                warn!(%error, "cannot report to the server that a frame is in progress");
            }
        }
    }

    /// Analyses a frame, stores what came of it, and acknowledges its message accordingly. Returns
    /// its slot once it is analysed, and keeps its pixels no longer.
    pub async fn handle(&self, served: &Served, mut message: Message, slot: Option<Slots>) {
        let _in_flight = self.metrics.in_flight();
        let payload = std::mem::take(&mut message.message.payload);
        let processing = self.process(served, &message, payload, slot);
        let disposition =
            self.keep_in_progress(served, slice::from_ref(&message), processing).await;
        let acknowledged = match disposition {
            Disposition::Done => message.ack().await,
            Disposition::Discard => message.ack_with(AckKind::Term).await,
            Disposition::Retry => message.ack_with(AckKind::Nak(Some(RETRY_DELAY))).await,
            Disposition::Abandon => return self.broken.cancel(),
        };
        if self.hung.get().is_some() {
            self.broken.cancel();
        }
        if let Err(error) = acknowledged {
            warn!(
                %error,
                "cannot acknowledge a frame: it will be redelivered, and counted once"
            );
        }
    }

    async fn process(
        &self,
        served: &Served,
        message: &Message,
        payload: Bytes,
        slot: Option<Slots>,
    ) -> Disposition {
        let Some(frame) = FrameIdentity::of(&message.subject, message.headers.as_ref()) else {
            self.metrics.not_a_frame(&message.subject);
            return Disposition::Discard;
        };
        let deliveries = deliveries(message);
        let last_delivery = deliveries >= served.max_deliver;
        if last_delivery && deliveries > 1 {
            self.record_attempt(&frame).await;
        }
        let analysing = self.gathering.analysing();
        let outcome = match &served.sessions {
            Ok(sessions) => {
                let (sessions, video) = (Arc::clone(sessions), frame.video.clone());
                self.inference.analyse(sessions, video, frame.index, payload.clone()).await
            }
            Err(reason) => Outcome::Failed(AnalysisError::Unusable(reason.clone())),
        };
        drop(slot);
        let stored = match outcome {
            Outcome::Analysed(analysis) => {
                drop(payload);
                analysing.gather(analysis.age()).await;
                self.publish_result(&frame, analysis).await
            }
            Outcome::Failed(error) if error.is_permanent() || last_delivery => {
                self.give_up(&frame, payload, &error, deliveries).await
            }
            Outcome::Failed(error) => {
                self.metrics.frame_retried(&frame, &error, deliveries);
                Ok(Disposition::Retry)
            }
            Outcome::ThreadDied => {
                self.metrics.frame_abandoned(&frame);
                Ok(Disposition::Abandon)
            }
            Outcome::Hung(deadline) => {
                let hung = Hung::new(frame.clone(), deadline);
                self.metrics.frame_hung(&hung, deliveries, last_delivery);
                // A second one ends this detector too, and one is enough to report.
                self.hung.set(hung).ok();
                if last_delivery {
                    self.give_up(&frame, payload, &AnalysisError::Hung(deadline), deliveries).await
                } else {
                    Ok(Disposition::Retry)
                }
            }
        };
        stored.unwrap_or_else(|error| {
            self.metrics.not_stored(&frame, &error);
            Disposition::Retry
        })
    }

    async fn publish_result(
        &self,
        frame: &FrameIdentity,
        analysis: Analysis,
    ) -> Result<Disposition, StoreError> {
        self.metrics.analysed(&frame.model, &analysis);
        let processing_us = analysis.processing_us();
        let before = self.frame_time.load(Ordering::Relaxed);
        self.frame_time.store(processing_us.max(before - before / 16), Ordering::Relaxed);
        let Analysis { pts, decoded_at, size, objects, .. } = analysis;
        let counted = objects.counted().count();
        let result = FrameResult {
            index: frame.index,
            pts,
            decoded_at,
            objects,
            size: Some(size),
            processing_us,
            detector: self.name.clone(),
            model: Some(frame.model.to_string()),
        };
        let started = Instant::now();
        self.streams
            .publisher
            .publish_event(&frame.video, Some(&frame.message_id), Event::Frame(result))
            .await?;
        self.metrics.frame_done(frame, counted, processing_us, started.elapsed());
        Ok(Disposition::Done)
    }

    async fn give_up(
        &self,
        frame: &FrameIdentity,
        payload: Bytes,
        error: &AnalysisError,
        deliveries: u64,
    ) -> Result<Disposition, StoreError> {
        let failed = Failed {
            index: frame.index,
            reason: error.to_string(),
            detector: Some(self.name.clone()),
            deliveries,
        };
        self.metrics.frame_dead(frame, &failed);
        dead_letter(&self.streams.publisher, frame, &failed, payload).await?;
        Ok(Disposition::Discard)
    }

    /// Records that this detector has the frame at its last delivery. Nothing else could name it if
    /// the frame kills this process.
    async fn record_attempt(&self, frame: &FrameIdentity) {
        let FrameIdentity { video, index, .. } = frame;
        let key = subjects::attempt(video, *index);
        if let Err(error) = self.streams.attempts.put(key, self.name.clone().into()).await {
            warn!(
                %video, frame = index, %error,
                "cannot record the attempt before a frame's last delivery"
            );
        }
    }
}

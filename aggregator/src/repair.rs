//! Repairs videos that do not move any more, because something of them was lost.
//!
//! A video that moves, or whose frames or upload wait in a queue, is left alone. Of the others:
//!
//! 1. What the log has is counted again (`counter/recount.rs`): the entry may be behind, damaged or
//!    missing.
//! 2. What is missing then is decoded again: an upload names exactly those frames.
//! 3. After some rounds, or if that is not possible, those frames fail.
//!
//! Each round is written to the video's entry by compare-and-swap before it is asked for, so that
//! of several aggregators one asks. `repair/watch.rs` notices which videos do not move,
//! `repair/summaries.rs` publishes lost summaries again, and `repair/uploads.rs` deletes uploaded
//! bytes that no repair needs any more.

mod summaries;
mod uploads;
mod watch;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use moliceiro_analytics::{InvalidBitmap, VideoTotals};
use moliceiro_nats::messages::{Event, Lost, Repair, RepairState, Upload, VideoEntry, to_json};
use moliceiro_nats::publish::StoreError;
use moliceiro_nats::videos::UnfinishedVideo;
use moliceiro_nats::{
    StoredEntry, Streams, StreamsError, VideoError, VideoId, WriteError, subjects,
};
use moliceiro_service::release_memory;
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use self::summaries::RecentSummaries;
use self::uploads::FinishedUploads;
use self::watch::Watch;
use crate::metrics::Metrics;
use crate::publication::{PublicationError, last_message};
use crate::settings::AggregatorSettings;

/// How often the server is asked at most, and at least.
const INTERVALS: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(2)];

/// A request to count a video again from its log.
pub(crate) struct Recount {
    pub(crate) video: VideoId,
    /// Gets false if that is not possible.
    pub(crate) done: oneshot::Sender<bool>,
}

#[derive(Debug, Error)]
enum RepairError {
    #[error(transparent)]
    Video(#[from] VideoError),
    #[error(transparent)]
    Write(#[from] WriteError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Streams(#[from] StreamsError),
    #[error("the video's entry is invalid: {0}")]
    Bitmap(#[from] InvalidBitmap),
    #[error(transparent)]
    Publication(#[from] PublicationError),
    #[error("a queue is unavailable: {0}")]
    Queue(async_nats::Error),
}

struct Repairs<'a> {
    streams: &'a Streams,
    settings: &'a AggregatorSettings,
    metrics: &'a Metrics,
    recounts: mpsc::Sender<Recount>,
    watch: Watch,
    finished: FinishedUploads,
    summaries: RecentSummaries,
}

/// Repairs until `shutdown`.
pub(crate) async fn run(
    streams: &Streams,
    settings: &AggregatorSettings,
    metrics: &Arc<Metrics>,
    recounts: mpsc::Sender<Recount>,
    shutdown: &CancellationToken,
) {
    let mut repairs = Repairs {
        streams,
        settings,
        metrics,
        recounts,
        watch: Watch::default(),
        finished: FinishedUploads::default(),
        summaries: RecentSummaries::default(),
    };
    let interval = (settings.repair_after / 4).clamp(INTERVALS[0], INTERVALS[1]);
    while shutdown.run_until_cancelled(tokio::time::sleep(interval)).await.is_some() {
        if let Some(Err(error)) = shutdown.run_until_cancelled(Box::pin(repairs.sweep())).await {
            warn!(%error, "cannot check whether something was lost; retrying");
        }
    }
}

impl Repairs<'_> {
    async fn sweep(&mut self) -> Result<(), RepairError> {
        self.restore().await?;
        let pause = self.settings.repair_after;
        let Self { finished, summaries, .. } = self;
        let on_finished = |entry: &VideoEntry| {
            finished.add(entry);
            summaries.add(entry);
        };
        if self.watch.update(self.streams, pause, on_finished).await? {
            summaries.restore(self.streams, self.metrics).await?;
            // The lists of all videos are dropped.
            tokio::task::spawn_blocking(release_memory);
        }
        let due = self.watch.unmoved(self.settings.repair_after);
        let expired = self.finished.expired(self.settings.keep_uploads);
        if due.is_empty() && expired.is_empty() {
            return Ok(());
        }
        let queued = self.streams.videos().queued_uploads().await?;
        for video in due {
            if let Err(error) = Box::pin(self.repair(&video, &queued)).await {
                warn!(%video, %error, "a video cannot be repaired yet; retrying");
            }
        }
        let is_needed =
            |uri: &str| self.watch.needs(uri) || queued.values().any(|upload| upload.uri == uri);
        self.finished.delete(self.streams, expired, is_needed).await;
        Ok(())
    }

    /// Creates streams, consumers and buckets that were lost.
    async fn restore(&self) -> Result<(), RepairError> {
        let checked = match self.streams.check().await {
            Ok(()) => self.streams.check_consumers().await,
            failed => failed,
        };
        if let Err(error) = checked {
            warn!(%error, "creating what is missing on the server");
            self.streams.restore().await?;
        }
        Ok(())
    }

    /// A video that has not moved for a while.
    async fn repair(
        &mut self,
        video: &VideoId,
        queued: &BTreeMap<VideoId, UnfinishedVideo>,
    ) -> Result<(), RepairError> {
        if queued.contains_key(video) {
            return Ok(());
        }
        let before = match self.streams.videos().stored_entry(video).await {
            Ok(Some(stored)) if stored.entry.summary_published => {
                self.watch.finished(video);
                return Ok(());
            }
            Ok(Some(stored)) if self.is_queued(video, &stored.entry).await? => return Ok(()),
            Ok(Some(_)) if self.is_unread(video).await? => return Ok(()),
            Ok(Some(stored)) => Some(stored.revision),
            Ok(None) | Err(VideoError::Malformed { .. }) => None,
            Err(error) => return Err(error.into()),
        };
        if !self.recount(video).await {
            if before.is_none() {
                self.watch.finished(video);
                warn!(
                    %video,
                    "the entry of a video is missing or damaged, and its results do not say how \
                     it started: upload it again"
                );
            }
            return Ok(());
        }
        match self.streams.videos().stored_entry(video).await? {
            // Only what the log does not have either is made again.
            Some(stored) if Some(stored.revision) == before => self.ask(video, stored).await,
            _ => {
                self.metrics.recounted(video);
                Ok(())
            }
        }
    }

    /// Whether frames of the video wait for a detector, or have one.
    async fn is_queued(&self, video: &VideoId, entry: &VideoEntry) -> Result<bool, RepairError> {
        let streams = self.streams;
        if streams.videos().queued_frames(video).await? == 0 {
            return Ok(false);
        }
        let model = entry.started.model();
        let consumers = streams.all_detectors().await?;
        let Some(info) = consumers.into_iter().find(|of| of.model == model).map(|of| of.info)
        else {
            // Without it, nobody would get them.
            streams.detectors(&model).await?;
            return Ok(true);
        };
        if info.num_pending > 0 || info.num_ack_pending > 0 {
            return Ok(true);
        }
        // Nobody gets them: they cannot be read, the consumer's state is ahead of them, or the
        // server's report that they ran out of deliveries is lost.
        let frames = subjects::frames_of(video);
        warn!(%video, "frames in the queue are not delivered: removing them, to decode them again");
        let purged = streams.frames.purge().filter(frames).await;
        purged.map(|_| false).map_err(|error| RepairError::Queue(error.into()))
    }

    /// Whether aggregators have not come to the last result of the video yet.
    async fn is_unread(&self, video: &VideoId) -> Result<bool, RepairError> {
        let streams = self.streams;
        let Some(last) = last_message(&streams.results, &subjects::log_of(video)).await? else {
            return Ok(false);
        };
        let info = streams.aggregator.get_info().await;
        let info = info.map_err(|error| RepairError::Queue(error.into()))?;
        let active = info.delivered.last_active.map(SystemTime::from);
        let idle = active.and_then(|active| active.elapsed().ok()).unwrap_or_default();
        let is_read = last.sequence <= info.delivered.stream_sequence;
        Ok(!is_read && active.is_some() && idle < self.settings.repair_after)
    }

    async fn recount(&self, video: &VideoId) -> bool {
        let (done, is_counted) = oneshot::channel();
        let request = Recount { video: video.clone(), done };
        self.recounts.send(request).await.is_ok() && is_counted.await.unwrap_or(false)
    }

    /// Asks for what is missing, or gives it up.
    async fn ask(&self, video: &VideoId, stored: StoredEntry) -> Result<(), RepairError> {
        let StoredEntry { mut entry, revision, .. } = stored;
        if entry.state.is_final() {
            return Ok(());
        }
        let totals = VideoTotals::from_entry(entry.clone())?;
        let before = entry.repair.take().unwrap_or_default();
        let missing = totals.missing_frames();
        let server = self.streams.jetstream.client().server_info().server_id;
        // A server that was restarted meanwhile may have lost the same frames again.
        let helped = before.rounds == 0 || missing < before.missing || server != before.server;
        let fruitless = if helped { 0 } else { before.fruitless + 1 };
        let upload = match self.upload(video, &entry, fruitless) {
            Ok(upload) => upload,
            Err(reason) => return self.give_up(video, before.rounds, reason).await,
        };
        let round = before.rounds + 1;
        let repair = Repair { round, frames: totals.missing() };
        self.metrics.repair_asked(video, &repair, missing);
        entry.repair = Some(RepairState { rounds: round, fruitless, missing, server, ..before });
        match self.streams.videos().write(&entry, Some(revision)).await {
            Ok(_) => {}
            // It moves, or another aggregator asks.
            Err(WriteError::Conflict) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        let id = format!("{video}/repair/{round}");
        let payload = to_json(&Upload { repair: Some(repair), ..upload }).into();
        self.streams.publisher.publish(subjects::UPLOAD_SUBJECT, &id, payload).await?;
        Ok(())
    }

    /// The upload of a video, or why it is not decoded again.
    fn upload(
        &self,
        video: &VideoId,
        entry: &VideoEntry,
        fruitless: u32,
    ) -> Result<Upload, String> {
        let most = self.settings.repair_rounds;
        if entry.started.window.is_some() {
            return Err("the source is live, and cannot be decoded again".into());
        }
        match fruitless {
            _ if fruitless < most => {}
            0 => return Err("aggregator.repair_rounds is 0".into()),
            1 => return Err("decoding them again once did not help".into()),
            _ => return Err(format!("decoding them again {fruitless} times did not help")),
        }
        Upload::again(video, &entry.started)
            .ok_or_else(|| "the source has a password, which is not stored".into())
    }

    async fn give_up(
        &self,
        video: &VideoId,
        rounds: u32,
        reason: String,
    ) -> Result<(), RepairError> {
        self.metrics.frames_lost(video, &reason);
        let id = format!("{video}/lost/{rounds}");
        let lost = Event::Lost(Lost { reason });
        self.streams.publisher.publish_event(video, Some(&id), lost).await?;
        Ok(())
    }
}

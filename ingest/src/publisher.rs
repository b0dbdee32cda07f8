//! Publishes the frames of a video, and its end.

use std::future::{pending, ready};
use std::pin::pin;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{StreamExt, TryStreamExt};
use moliceiro_decode::{ContainerInfo, DecodedFrame, DecodedThumbnail, Decoding, UndecodableFrame};
use moliceiro_nats::messages::{
    Carried, CarriedRun, Ended, Event, Failed, Frame, ModelId, Progress, Repair, Skipped,
    Thumbnail, VERSION, milliseconds_now, to_cbor,
};
use moliceiro_nats::publish::{StoreError, Turnstile};
use moliceiro_nats::{Streams, VideoId, subjects};
use tracing::warn;

use crate::metrics::Metrics;
use crate::published::{Published, Watermark};

const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);
/// Many detectors analyse more frames than this in a second.
const PROGRESS_FRAMES: u64 = 250;

/// Stores what is decoded of one video.
pub struct FramePublisher<'a> {
    /// Where to.
    pub streams: &'a Streams,
    /// What is counted meanwhile.
    pub metrics: &'a Metrics,
    /// The video that the frames belong to.
    pub video: &'a VideoId,
    /// The model that analyses them.
    pub model: &'a ModelId,
    /// Frames that may be unacknowledged at the same time.
    pub window: usize,
    /// Whether some frames carry the objects of others.
    pub skip_still: bool,
    /// What of the video is published again, if something of it was lost.
    pub repair: Option<&'a Repair>,
    /// Where its frames wait while the queue is full.
    pub(crate) turnstile: Turnstile,
}

/// A frame that is stored.
struct Stored {
    /// What is stored before it, frames that carry objects included.
    before: Watermark,
    /// The same with the frame.
    after: Watermark,
    /// Frames before it that carry objects.
    carried: Vec<CarriedRun>,
}

/// How far a video is published.
#[derive(Default)]
struct Extent {
    stored: Watermark,
    /// What aggregators were sent.
    reported: Watermark,
    /// What they may be sent. More frames may carry the objects of the last one that is stored.
    reportable: Watermark,
    /// Frames that carry objects, and were not reported.
    carried: Vec<CarriedRun>,
}

impl<'a> FramePublisher<'a> {
    /// Of a video without still frames, of which nothing was lost.
    pub fn new(
        streams: &'a Streams,
        metrics: &'a Metrics,
        video: &'a VideoId,
        model: &'a ModelId,
        window: usize,
    ) -> Self {
        let (skip_still, repair, turnstile) = (false, None, Turnstile::default());
        Self { streams, metrics, video, model, window, skip_still, repair, turnstile }
    }

    /// Stores the frames of a video, then its end. Waits while the queue is full. Dropping the
    /// future stops decoding.
    pub(crate) async fn publish_video(
        &self,
        decoding: Decoding,
        stored: Watermark,
    ) -> Result<Published, StoreError> {
        let container_info = decoding.container_info();
        let mut extent = Extent::from(stored);
        let frames = decoding.frames.clone();
        let published = self.publish_all(frames, &container_info, &mut extent).await;
        let stored = extent.stored;
        let ended = match published {
            // A frame that the server never accepts ends the video after the frames before it.
            Err(error @ (StoreError::TooLarge { .. } | StoreError::Refused { .. })) => {
                truncated(stored, error.to_string())
            }
            Err(error) => return Err(error),
            Ok(()) => match decoding.outcome().await {
                Ok(decoded) => {
                    let skipped = decoded.skipped.unwrap_or_default();
                    self.metrics.frames_skipped(&Skipped { still: 0, ..skipped });
                    self.carry(&mut extent, decoded.carried);
                    Ended {
                        frames: decoded.frames,
                        decoded: decoded.decoded,
                        duration: decoded.duration,
                        problem: decoded.incomplete.map(|incomplete| incomplete.to_string()),
                        notices: decoded.notices.iter().map(ToString::to_string).collect(),
                        skipped: decoded.skipped,
                    }
                }
                Err(error) => truncated(stored, error.to_string()),
            },
        };
        if self.skip_still {
            // Totals take the end only after all that carries objects.
            extent.reportable = Watermark { below: ended.decoded, frames: ended.frames };
            self.report(&mut extent, &container_info).await?;
        }
        self.publish_end(ended).await
    }

    /// Stores the end of a video of which no more can be decoded than is stored already.
    pub(crate) async fn publish_failure(
        &self,
        stored: Watermark,
        problem: String,
    ) -> Result<Published, StoreError> {
        self.publish_end(truncated(stored, problem)).await
    }

    async fn publish_end(&self, ended: Ended) -> Result<Published, StoreError> {
        let id = self.message_id(subjects::event_message_id(self.video, "ended"));
        let event = Event::Ended(ended.clone());
        self.streams.publisher.publish_event(self.video, Some(&id), event).await?;
        Ok(Published { frames: ended.frames, problem: ended.problem })
    }

    /// Stores frames, and reports the watermark after the first of them and at intervals. Returns
    /// the watermark, with an error too. The first frame is the one after those that are `stored`.
    pub async fn publish_frames(
        &self,
        frames: async_channel::Receiver<Result<DecodedFrame, UndecodableFrame>>,
        container_info: &ContainerInfo,
        stored: Watermark,
    ) -> Result<Watermark, (Watermark, StoreError)> {
        let mut extent = Extent::from(stored);
        let published = self.publish_all(frames, container_info, &mut extent).await;
        published.map(|()| extent.stored).map_err(|error| (extent.stored, error))
    }

    async fn publish_all(
        &self,
        frames: async_channel::Receiver<Result<DecodedFrame, UndecodableFrame>>,
        container_info: &ContainerInfo,
        extent: &mut Extent,
    ) -> Result<(), StoreError> {
        let first = extent.stored;
        let mut storing = pin!(frames.map(|frame| self.publish_one(frame)).buffered(self.window));
        let mut ticks = tokio::time::interval(PROGRESS_INTERVAL);
        let mut reporting = Reporting::default();
        loop {
            let due = tokio::select! {
                next = storing.try_next() => match next {
                    Ok(Some(Stored { before, after, carried })) => {
                        extent.stored = after;
                        extent.reportable = if self.skip_still { before } else { after };
                        self.carry(extent, carried);
                        let Extent { reported, reportable, .. } = extent;
                        *reported == first || reportable.below - reported.below >= PROGRESS_FRAMES
                    }
                    Ok(None) => return reporting.finish(extent).await,
                    Err(error) => return reporting.finish(extent).await.and(Err(error)),
                },
                reported = reporting.next(), if reporting.is_busy() => {
                    extent.was_reported(reported?);
                    false
                }
                // While the queue is full no frame is stored, but those before must be confirmed.
                _ = ticks.tick() => true,
            };
            // Frames are stored meanwhile: a report waits for the disk.
            if due && !reporting.is_busy() {
                reporting = self.report_of(extent, container_info);
            }
        }
    }

    fn carry(&self, extent: &mut Extent, runs: Vec<CarriedRun>) {
        let still = runs.iter().map(|run| run.frames.len() as u64).sum();
        self.metrics.frames_skipped(&Skipped { still, ..Skipped::default() });
        extent.carried.extend(runs);
    }

    /// Reports what is stored, if that is more than before.
    async fn report(
        &self,
        extent: &mut Extent,
        container_info: &ContainerInfo,
    ) -> Result<(), StoreError> {
        self.report_of(extent, container_info).finish(extent).await
    }

    fn report_of(&self, extent: &Extent, container_info: &ContainerInfo) -> Reporting<'_> {
        let reported = Reported { until: extent.reportable, runs: extent.carried.len() };
        let Watermark { below: published, frames } = extent.reportable;
        if extent.reportable == extent.reported {
            return Reporting::default();
        }
        let announced = container_info.frames();
        let (id, event) = if self.skip_still {
            let from = extent.reported.below;
            let runs = extent.carried.clone();
            let id = subjects::event_message_id(self.video, &format!("carried/{from}/{published}"));
            (Some(id), Event::Carried(Carried { from, published, frames, announced, runs }))
        } else {
            (None, Event::Progress(Progress { published, frames: Some(frames), announced }))
        };
        Reporting(Some(Box::pin(async move {
            self.streams.publisher.publish_event(self.video, id.as_deref(), event).await?;
            Ok(reported)
        })))
    }

    /// What was lost may have been stored under the same id a moment ago.
    fn message_id(&self, id: String) -> String {
        match self.repair {
            Some(repair) => format!("{id}/{}", repair.token()),
            None => id,
        }
    }

    /// Stores the frames that a repair names, and returns how many there were.
    pub(crate) async fn publish_again(
        &self,
        repair: &Repair,
        frames: async_channel::Receiver<Result<DecodedFrame, UndecodableFrame>>,
    ) -> Result<u64, StoreError> {
        let index = |frame: &Result<DecodedFrame, UndecodableFrame>| match frame {
            Ok(frame) => frame.index,
            Err(lost) => lost.index,
        };
        let last = repair.last();
        let named = frames
            .take_while(|frame| ready(index(frame) <= last))
            .filter(|frame| ready(repair.names(index(frame))));
        let mut storing = pin!(named.map(|frame| self.publish_one(frame)).buffered(self.window));
        let mut published = 0;
        while storing.try_next().await?.is_some() {
            published += 1;
        }
        Ok(published)
    }

    async fn publish_one(
        &self,
        frame: Result<DecodedFrame, UndecodableFrame>,
    ) -> Result<Stored, StoreError> {
        match frame {
            Ok(frame) => self.publish_frame(frame).await,
            Err(lost) => self.publish_failed(lost).await,
        }
    }

    async fn publish_frame(&self, frame: DecodedFrame) -> Result<Stored, StoreError> {
        let DecodedFrame {
            index,
            number,
            pts,
            size,
            letterbox,
            color,
            encoding,
            pixels,
            thumbnail,
            carried,
        } = frame;
        let video = self.video.clone();
        let (source, of) = (letterbox.source, video.clone());
        let showing = async {
            if let Some(DecodedThumbnail { slot, jpeg }) = thumbnail {
                let thumbnail = Thumbnail { version: VERSION, video: of, index, pts, source, jpeg };
                self.publish_thumbnail(slot, &thumbnail).await;
            }
        };
        let message = Frame {
            version: VERSION,
            video,
            index,
            pts,
            decoded_at: Some(milliseconds_now()),
            encoding,
            size,
            letterbox,
            color,
            pixels,
        };
        let payload = Bytes::from(message.to_cbor());
        let bytes = payload.len();
        let started = Instant::now();
        let subject = subjects::frames(self.model, self.video);
        let id = self.message_id(subjects::frame_message_id(self.video, index));
        let storing = async {
            let Self { streams, turnstile, .. } = self;
            streams.publisher.publish_in_turn(&subject, &id, payload, turnstile).await?;
            self.metrics.frame_published(self.video, index, bytes, started.elapsed());
            Ok(())
        };
        let (stored, ()) = tokio::join!(storing, showing);
        stored?;
        Ok(Stored::at(index, number, carried))
    }

    /// A frame that cannot be decoded gets its result at once, and never enters the queue.
    async fn publish_failed(&self, lost: UndecodableFrame) -> Result<Stored, StoreError> {
        let UndecodableFrame { index, number, reason, carried } = lost;
        self.metrics.frame_lost(self.video, index, &reason);
        let failed = Event::Failed(Failed { index, reason, detector: None, deliveries: 0 });
        let id = self.message_id(subjects::frame_message_id(self.video, index));
        self.streams.publisher.publish_event(self.video, Some(&id), failed).await?;
        Ok(Stored::at(index, number, carried))
    }

    /// A thumbnail is only for display: a missing one does not fail the video.
    async fn publish_thumbnail(&self, slot: u8, thumbnail: &Thumbnail) {
        let Thumbnail { video, index, jpeg, .. } = thumbnail;
        let payload = Bytes::from(to_cbor(thumbnail, jpeg.len() + 256));
        let subject = subjects::still(video, slot);
        let id = subjects::event_message_id(video, &format!("still/{index}"));
        if let Err(error) = self.streams.publisher.publish(&subject, &id, payload).await {
            warn!(%video, frame = index, %error, "cannot store a thumbnail");
        }
    }
}

/// What a report says.
struct Reported {
    until: Watermark,
    /// The first of the runs that were not reported before.
    runs: usize,
}

/// A report that is being stored, if there is one.
#[derive(Default)]
struct Reporting<'a>(Option<BoxFuture<'a, Result<Reported, StoreError>>>);

impl Reporting<'_> {
    fn is_busy(&self) -> bool {
        self.0.is_some()
    }

    /// Waits until it is stored. Without one, for ever.
    async fn next(&mut self) -> Result<Reported, StoreError> {
        let Some(storing) = &mut self.0 else { return pending().await };
        let reported = storing.await;
        self.0 = None;
        reported
    }

    /// Waits until it is stored, if there is one.
    async fn finish(mut self, extent: &mut Extent) -> Result<(), StoreError> {
        if self.is_busy() {
            extent.was_reported(self.next().await?);
        }
        Ok(())
    }
}

impl Extent {
    fn was_reported(&mut self, Reported { until, runs }: Reported) {
        self.reported = until;
        self.carried.drain(..runs);
    }
}

impl Stored {
    fn at(index: u64, number: u64, carried: Vec<CarriedRun>) -> Self {
        let before = Watermark { below: index, frames: number };
        Self { before, after: Watermark { below: index + 1, frames: number + 1 }, carried }
    }
}

impl From<Watermark> for Extent {
    fn from(stored: Watermark) -> Self {
        Self { stored, reported: stored, reportable: stored, carried: vec![] }
    }
}

/// The end of a video of which only these frames are stored.
fn truncated(stored: Watermark, problem: String) -> Ended {
    Ended {
        frames: stored.frames,
        decoded: stored.below,
        duration: None,
        problem: Some(problem),
        notices: vec![],
        skipped: None,
    }
}

use std::pin::pin;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use moliceiro_nats::messages::{
    Ended, Event, Failed, Frame, Progress, Thumbnail, VERSION, VideoEntry, milliseconds_now,
    to_cbor,
};
use moliceiro_nats::publish::StoreError;
use moliceiro_nats::{Streams, VideoId, subjects};
use tracing::warn;

use crate::report;
use moliceiro_decode::{
    ContainerInfo, DecodedFrame, DecodedThumbnail, Decoding, UndecodableFrame,
};

const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);
/// Many detectors are faster than a second.
const PROGRESS_FRAMES: u64 = 250;

/// A video whose frames are all stored, and its end too.
pub(crate) struct Fed {
    pub(crate) frames: u64,
    pub(crate) problem: Option<String>,
}

/// How far a video's frames are stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Published {
    /// Every frame with a smaller index is.
    pub below: u64,
    /// How many those are.
    pub frames: u64,
}

impl Published {
    pub(crate) fn of(entry: &VideoEntry) -> Self {
        Self { below: entry.published, frames: entry.published_frames() }
    }
}

/// Stores the frames of a video, then its end. Waits where the queue is full. Dropping it stops
/// decoding.
pub(crate) async fn feed(
    streams: &Streams,
    video: &VideoId,
    decoding: Decoding,
    done: Published,
    window: usize,
) -> Result<Fed, StoreError> {
    let published = publish_frames(
        streams,
        video,
        decoding.frames.clone(),
        &decoding.container_info(),
        done,
        window,
    )
    .await;
    let ended = match published {
        // A frame that no server takes ends the video, with those before it.
        Err((published, error @ (StoreError::TooLarge { .. } | StoreError::Refused { .. }))) => {
            cut_off(published, error.to_string())
        }
        Err((_, error)) => return Err(error),
        Ok(published) => match decoding.outcome().await {
            Ok(decoded) => Ended {
                frames: decoded.frames,
                decoded: decoded.decoded,
                duration: decoded.duration,
                problem: decoded.incomplete.map(|incomplete| incomplete.to_string()),
            },
            Err(error) => cut_off(published, error.to_string()),
        },
    };
    end(streams, video, ended).await
}

/// Stores the end of a video of which no more can be decoded than is stored already.
pub(crate) async fn end_unread(
    streams: &Streams,
    video: &VideoId,
    done: Published,
    problem: String,
) -> Result<Fed, StoreError> {
    end(streams, video, cut_off(done, problem)).await
}

async fn end(streams: &Streams, video: &VideoId, ended: Ended) -> Result<Fed, StoreError> {
    let id = subjects::event_message_id(video, "ended");
    streams.publisher.publish_event(video, Some(&id), Event::Ended(ended.clone())).await?;
    Ok(Fed { frames: ended.frames, problem: ended.problem })
}

/// The end of a video of which only these frames are there.
fn cut_off(published: Published, problem: String) -> Ended {
    Ended {
        frames: published.frames,
        decoded: published.below,
        duration: None,
        problem: Some(problem),
    }
}

/// Stores frames, `window` at a time, and says after the first of them and then now and again how
/// far it is. Gives how far all are stored, with an error too. The first frame is the one after
/// those that are `done`.
pub async fn publish_frames(
    streams: &Streams,
    video: &VideoId,
    frames: async_channel::Receiver<Result<DecodedFrame, UndecodableFrame>>,
    container_info: &ContainerInfo,
    done: Published,
    window: usize,
) -> Result<Published, (Published, StoreError)> {
    let (mut published, mut said) = (done, done);
    let mut stored = pin!(frames.map(|frame| store_frame(streams, video, frame)).buffered(window));
    let mut ticks = tokio::time::interval(PROGRESS_INTERVAL);
    loop {
        let due = tokio::select! {
            next = stored.try_next() => match next {
                Ok(Some(now)) => {
                    published = now;
                    said == done || published.below - said.below >= PROGRESS_FRAMES
                }
                Ok(None) => return Ok(published),
                Err(error) => return Err((published, error)),
            },
            // While the queue is full no frame is stored, but those before have to be known.
            _ = ticks.tick() => published != said,
        };
        if due {
            let progress = Event::Progress(Progress {
                published: published.below,
                frames: Some(published.frames),
                announced: container_info.frames(),
            });
            streams
                .publisher
                .publish_event(video, None, progress)
                .await
                .map_err(|error| (published, error))?;
            said = published;
        }
    }
}

async fn store_frame(
    streams: &Streams,
    video: &VideoId,
    frame: Result<DecodedFrame, UndecodableFrame>,
) -> Result<Published, StoreError> {
    let frame = match frame {
        Ok(frame) => frame,
        Err(lost) => return store_loss(streams, video, lost).await,
    };
    let DecodedFrame { index, number, pts, size, letterbox, color, encoding, pixels, thumbnail } =
        frame;
    if let Some(DecodedThumbnail { slot, jpeg }) = thumbnail {
        store_still(
            streams,
            slot,
            &Thumbnail {
                version: VERSION,
                video: video.clone(),
                index,
                pts,
                source: letterbox.source,
                jpeg,
            },
        )
        .await;
    }
    let decoded_at = Some(milliseconds_now());
    let message = Frame {
        version: VERSION,
        video: video.clone(),
        index,
        pts,
        decoded_at,
        encoding,
        size,
        letterbox,
        color,
        pixels,
    };
    let payload = Bytes::from(message.to_cbor());
    let (bytes, began) = (payload.len(), Instant::now());
    streams
        .publisher
        .publish(&subjects::frames(video), &subjects::frame_message_id(video, index), payload)
        .await?;
    report::frame_published(video, index, bytes, began.elapsed());
    Ok(Published { below: index + 1, frames: number + 1 })
}

/// A frame that cannot be decoded has its result at once, and never comes into the queue.
async fn store_loss(
    streams: &Streams,
    video: &VideoId,
    lost: UndecodableFrame,
) -> Result<Published, StoreError> {
    let UndecodableFrame { index, number, reason } = lost;
    report::frame_lost(video, index, &reason);
    let failed = Event::Failed(Failed { index, reason, detector: None, deliveries: 0 });
    streams
        .publisher
        .publish_event(video, Some(&subjects::frame_message_id(video, index)), failed)
        .await?;
    Ok(Published { below: index + 1, frames: number + 1 })
}

/// A still is for people to look at: a video is no worse for the want of one.
async fn store_still(streams: &Streams, slot: u8, still: &Thumbnail) {
    let (video, index) = (&still.video, still.index);
    let payload = Bytes::from(to_cbor(still, still.jpeg.len() + 256));
    let id = subjects::event_message_id(video, &format!("still/{index}"));
    if let Err(error) = streams.publisher.publish(&subjects::still(video, slot), &id, payload).await
    {
        warn!(%video, frame = index, %error, "a still is not kept");
    }
}

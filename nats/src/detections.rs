//! What was found in each frame of a video, as long as it is kept.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, Consumer, pull};
use async_nats::jetstream::stream;
use futures_util::{Stream, StreamExt, stream::try_unfold};
use roaring::RoaringTreemap;
use thiserror::Error;

use crate::messages::{Event, FrameResult, VideoEvent, from_cbor};
use crate::{Streams, VideoId, subjects};

/// Detectors finish frames out of order, but seldom by more than this.
const WINDOW: usize = 256;
const AT_ONCE: usize = 256;
/// A reader that takes nothing for so long is given up.
const PATIENCE: Duration = Duration::from_secs(300);

/// The server does not give the results, or no longer.
#[derive(Debug, Error)]
#[error("the NATS server does not give what was found in the frames of {video}: {reason}")]
pub struct DetectionsError {
    /// Whose they are.
    pub video: VideoId,
    /// What it says.
    pub reason: String,
}

/// The results that are stored now, each frame once and in order of their indexes; then the stream ends.
///
/// A result that was stored more than some hundred frames after its turn comes when it is found. Frames that failed are left
/// out, and so are those whose results are not kept any more. Nothing is in memory but what the order needs.
pub fn detections(streams: &Streams, video: &VideoId) -> impl Stream<Item = Result<FrameResult, DetectionsError>> + Send + use<> {
    let reader = Reader { results: streams.results.clone(), video: video.clone(), consumer: None, ended: false, order: Order::default() };
    try_unfold(reader, async |mut reader| Ok(reader.next().await?.map(|frame| (frame, reader))))
}

struct Reader {
    results: stream::Stream,
    video: VideoId,
    consumer: Option<Consumer<pull::Config>>,
    ended: bool,
    order: Order,
}

impl Reader {
    async fn next(&mut self) -> Result<Option<FrameResult>, DetectionsError> {
        while !self.ended && !self.order.is_full() {
            self.fetch().await?;
        }
        Ok(self.order.pop())
    }

    async fn fetch(&mut self) -> Result<(), DetectionsError> {
        let video = self.video.clone();
        let consumer = match &mut self.consumer {
            Some(consumer) => consumer,
            none => none.insert(open(&self.results, &video).await?),
        };
        let mut batch = consumer.fetch().max_messages(AT_ONCE).messages().await.map_err(failed(&video))?;
        self.ended = true;
        while let Some(message) = batch.next().await {
            self.ended = false;
            // What cannot be read was no result: the aggregator drops it too.
            if let Ok(VideoEvent { event: Event::Frame(frame), .. }) = from_cbor(&message.map_err(failed(&video))?.payload) {
                self.order.push(frame);
            }
        }
        Ok(())
    }
}

async fn open(results: &stream::Stream, video: &VideoId) -> Result<Consumer<pull::Config>, DetectionsError> {
    let config = pull::Config {
        filter_subject: subjects::results(video),
        ack_policy: AckPolicy::None,
        inactive_threshold: PATIENCE,
        memory_storage: true,
        ..pull::Config::default()
    };
    results.create_consumer(config).await.map_err(failed(video))
}

fn failed<E: Display>(video: &VideoId) -> impl FnOnce(E) -> DetectionsError {
    let video = video.clone();
    move |error| DetectionsError { video, reason: error.to_string() }
}

/// Puts frames that are nearly in order into order, and drops repetitions.
#[derive(Default)]
struct Order {
    waiting: BTreeMap<u64, FrameResult>,
    seen: RoaringTreemap,
}

impl Order {
    fn push(&mut self, frame: FrameResult) {
        if self.seen.insert(frame.index) {
            self.waiting.insert(frame.index, frame);
        }
    }

    fn is_full(&self) -> bool {
        self.waiting.len() > WINDOW
    }

    fn pop(&mut self) -> Option<FrameResult> {
        self.waiting.pop_first().map(|(_, frame)| frame)
    }
}

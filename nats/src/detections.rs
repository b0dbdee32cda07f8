//! The objects found in each frame of a video, as long as results are kept, and which frames'
//! results are not kept any more.

mod missing;
mod order;

use std::fmt::Display;
use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, Consumer, pull};
use async_nats::jetstream::stream;
use futures_util::{Stream, StreamExt, stream::try_unfold};
use serde::Serialize;
use thiserror::Error;

use self::order::Order;
use crate::messages::{Carried, Event, FrameResult, Object, VideoEvent, from_cbor};
use crate::{Streams, TemporaryConsumer, VideoId, direct, subjects};
pub use missing::{InvalidFrames, Missing};

/// Messages of one fetch.
const BATCH: usize = 256;
/// The server deletes the consumer of a reader that is idle for longer, if nothing else does.
const READER_TIMEOUT: Duration = Duration::from_secs(300);

/// The results cannot be read, or not to their end.
#[derive(Debug, Error)]
#[error("the NATS server does not return the results of {video}: {reason}")]
pub struct DetectionsError {
    /// The video whose results are read.
    pub video: VideoId,
    /// What the client library reports.
    pub reason: String,
}

/// The results that are stored now: each frame once, in order of index. A frame that carries the
/// objects of another one is among them.
///
/// A result that was stored more than some hundred frames late is yielded late. Failed frames are
/// left out, and so are expired results: [`Missing`] lists them. Memory holds only the frames that are being reordered.
pub fn detections(
    streams: &Streams,
    video: &VideoId,
) -> impl Stream<Item = Result<FrameResult, DetectionsError>> + Send + use<> {
    let reader = Reader {
        results: streams.results.clone(),
        video: video.clone(),
        consumer: None,
        ended: false,
        order: Order::default(),
    };
    try_unfold(reader, async |mut reader| Ok(reader.next().await?.map(|frame| (frame, reader))))
}

/// What is stored about frames.
#[derive(Clone, Debug)]
pub enum StoredResult {
    /// A frame was analysed.
    Frame(FrameResult),
    /// Frames carry the objects of others.
    Carried(Carried),
}

/// The results that are stored from this sequence on, in the order in which they were stored, each
/// with its sequence. A frame may have two.
pub fn stored_results(
    streams: &Streams,
    video: &VideoId,
    from: u64,
) -> impl Stream<Item = Result<(u64, StoredResult), DetectionsError>> + Send + Sync + use<> {
    let (client, video) = (streams.jetstream.client(), video.clone());
    let subject = subjects::log_of(&video);
    let messages = direct::messages(client, &streams.api, &streams.results, &subject, from);
    messages.filter_map(move |message| {
        let result = match message {
            // Aggregators drop malformed messages too.
            Ok(message) => match from_cbor(&message.payload) {
                Ok(VideoEvent { event: Event::Frame(frame), .. }) => {
                    Some(Ok((message.sequence, StoredResult::Frame(frame))))
                }
                Ok(VideoEvent { event: Event::Carried(carried), .. }) => {
                    Some(Ok((message.sequence, StoredResult::Carried(carried))))
                }
                _ => None,
            },
            Err(error) => Some(Err(failed(&video)(error))),
        };
        std::future::ready(result)
    })
}

struct Reader {
    results: stream::Stream,
    video: VideoId,
    consumer: Option<(Consumer<pull::Config>, TemporaryConsumer)>,
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
        let (consumer, _) = match &mut self.consumer {
            Some(open) => open,
            none => none.insert(open(&self.results, &video).await?),
        };
        let mut batch =
            consumer.fetch().max_messages(BATCH).messages().await.map_err(failed(&video))?;
        self.ended = true;
        while let Some(message) = batch.next().await {
            self.ended = false;
            // Aggregators drop malformed messages too.
            match from_cbor(&message.map_err(failed(&video))?.payload) {
                Ok(VideoEvent { event: Event::Frame(frame), .. }) => self.order.push(frame),
                Ok(VideoEvent { event: Event::Carried(carried), .. }) => self.order.carry(&carried),
                Ok(VideoEvent { event: Event::Started(started), .. }) => {
                    self.order.expect_carried(started.selection.skip_still);
                }
                _ => {}
            }
        }
        Ok(())
    }
}

async fn open(
    results: &stream::Stream,
    video: &VideoId,
) -> Result<(Consumer<pull::Config>, TemporaryConsumer), DetectionsError> {
    let config = pull::Config {
        filter_subjects: vec![subjects::results(video), subjects::detections(video)],
        ack_policy: AckPolicy::None,
        inactive_threshold: READER_TIMEOUT,
        memory_storage: true,
        ..pull::Config::default()
    };
    let consumer = results.create_consumer(config).await.map_err(failed(video))?;
    let deleted = TemporaryConsumer::new(results, &consumer.cached_info().name);
    Ok((consumer, deleted))
}

fn failed<E: Display>(video: &VideoId) -> impl FnOnce(E) -> DetectionsError {
    let video = video.clone();
    move |error| DetectionsError { video, reason: error.to_string() }
}

/// One object in one frame, for programs and spreadsheets.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Row {
    /// The frame's index.
    pub frame: u64,
    /// The frame's presentation time, in seconds.
    pub time_s: Option<f64>,
    /// The object's class, one of the model's labels.
    pub label: String,
    /// The model's confidence, 0 to 1.
    pub score: f32,
    /// Left, top, right, bottom in pixels of the video's own upright frame.
    #[serde(rename = "box")]
    pub bounds: [f32; 4],
    /// The number of the track that it belongs to. Left out: to none, or it was not asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub track: Option<u64>,
}

impl Row {
    /// The first line of a CSV file of rows.
    pub const CSV_HEADER: &str = "frame,time_s,label,score,left,top,right,bottom";
    /// The same for rows with tracks.
    pub const TRACKED_CSV_HEADER: &str = "frame,time_s,label,score,left,top,right,bottom,track";

    /// A frame's objects that count, highest score first.
    pub fn of(frame: &FrameResult) -> impl Iterator<Item = Self> {
        let time_s = frame.pts.map(|ns| ns as f64 / 1e9);
        let row = move |Object { label, score, bounds, .. }: Object<'_>| Self {
            frame: frame.index,
            time_s,
            label: label.to_owned(),
            score,
            bounds,
            track: None,
        };
        frame.objects.counted().map(row)
    }

    /// The row as a line of CSV (RFC 4180), without a line break.
    pub fn to_csv(&self) -> String {
        let Self { frame, time_s, label, score, bounds: [left, top, right, bottom], .. } = self;
        let time_s = time_s.map(|time| time.to_string()).unwrap_or_default();
        let label = if label.contains(['"', ',', '\n', '\r']) {
            format!("\"{}\"", label.replace('"', "\"\""))
        } else {
            label.clone()
        };
        format!("{frame},{time_s},{label},{score},{left},{top},{right},{bottom}")
    }

    /// As [`to_csv`](Self::to_csv), with the number of the track.
    pub fn to_tracked_csv(&self) -> String {
        let track = self.track.map(|track| track.to_string()).unwrap_or_default();
        format!("{},{track}", self.to_csv())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::Detection;

    fn frame(index: u64) -> FrameResult {
        let detections =
            vec![Detection { label: "a, \"b\"".into(), score: 0.5, bounds: [1.0, 2.5, 3.0, 4.0] }];
        FrameResult {
            index,
            pts: Some(index * 40_000_000),
            decoded_at: None,
            objects: detections.try_into().unwrap(),
            size: None,
            processing_us: 1,
            detector: "d".into(),
            model: Some("nanodet".into()),
        }
    }

    #[test]
    fn a_row_is_one_line_of_json_or_csv() {
        let row = Row::of(&frame(3)).next().unwrap();
        let tracked = Row { track: Some(7), ..row.clone() };
        assert_eq!(tracked.to_tracked_csv(), format!("{},7", row.to_csv()));
        assert_eq!(row.to_tracked_csv(), format!("{},", row.to_csv()));
        assert_eq!(row.to_csv(), r#"3,0.12,"a, ""b""",0.5,1,2.5,3,4"#);
        assert_eq!(
            row.to_csv().split(',').count(),
            Row::CSV_HEADER.split(',').count() + 1,
            "one comma is quoted"
        );
        let json =
            r#"{"frame":3,"time_s":0.12,"label":"a, \"b\"","score":0.5,"box":[1.0,2.5,3.0,4.0]}"#;
        assert_eq!(serde_json::to_string(&row).unwrap(), json);
    }
}

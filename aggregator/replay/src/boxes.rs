//! Which object of which frame belongs to which track.

use std::collections::{BTreeSet, HashMap};

use moliceiro_analytics::{Finding, Observed};
use moliceiro_nats::detections::Row;
use moliceiro_nats::messages::{FrameResult, Started, TrackerKind};
use moliceiro_nats::{Streams, VideoId};

use crate::analysis::{Step, own_threshold, replay};
use crate::{Question, ReplayError};

/// An object that belongs to a track.
#[derive(Clone, Debug, PartialEq)]
pub struct TrackedBox {
    /// The frame's index.
    pub frame: u64,
    /// The track's number.
    pub track: u64,
    /// The object's class.
    pub label: String,
    /// The model's confidence, 0 to 1.
    pub score: f32,
    /// Left, top, right, bottom in pixels.
    pub bounds: [f32; 4],
}

/// The objects of a video that belong to tracks.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TrackedBoxes {
    /// In the order in which their tracks are confirmed.
    pub boxes: Vec<TrackedBox>,
    /// How they were tracked.
    pub tracker: TrackerKind,
    /// The indexes of the frames whose results are in it.
    pub frames: BTreeSet<u64>,
    /// True if the video is finished.
    pub is_finished: bool,
    /// Frames that were analysed, and whose results are not stored any more.
    pub missing_frames: u64,
}

/// The number of the track of each object that has one.
#[derive(Clone, Debug, Default)]
pub struct TrackNumbers {
    /// By frame and place among the frame's objects, those that do not count included.
    numbers: HashMap<(u64, u32), u64>,
    tracker: TrackerKind,
}

impl TrackNumbers {
    /// How objects were recognised as the same one.
    pub fn tracker(&self) -> TrackerKind {
        self.tracker
    }

    /// A frame's objects that count, each with the number of its track.
    pub fn rows(&self, frame: &FrameResult) -> impl Iterator<Item = Row> {
        // Those that count come first.
        (0_u32..).zip(Row::of(frame)).map(|(place, row)| {
            let track = self.numbers.get(&(row.frame, place)).copied();
            Row { track, ..row }
        })
    }
}

/// Which object belongs to which track, of all results of a video that are stored now.
pub async fn track_numbers(
    streams: &Streams,
    video: &VideoId,
    question: &Question,
) -> Result<TrackNumbers, ReplayError> {
    let mut numbers = TrackNumbers::default();
    let on_step = |_: &Started, step: Step<'_>| {
        if let Step::Found(Finding::Observed(Observed { frame, object, track })) = step {
            numbers.numbers.insert((frame, object), track);
        }
    };
    numbers.tracker = replay(streams, video, question, on_step).await?.started.tracking.tracker();
    Ok(numbers)
}

/// All objects of tracks, of all results of a video that are stored now. Holds all boxes of the
/// video in memory.
pub async fn tracked_boxes(
    streams: &Streams,
    video: &VideoId,
    question: &Question,
) -> Result<TrackedBoxes, ReplayError> {
    let mut objects = HashMap::new();
    let mut found = TrackedBoxes::default();
    let on_step = |_: &Started, step: Step<'_>| match step {
        Step::Frame(result) | Step::Still(result) => {
            found.frames.insert(result.index);
            for (place, object) in (0_u32..).zip(result.objects.all()) {
                let object = (object.label.to_owned(), object.score, object.bounds);
                objects.insert((result.index, place), object);
            }
        }
        Step::Found(Finding::Observed(Observed { frame, object, track })) => {
            if let Some((label, score, bounds)) = objects.remove(&(frame, object)) {
                found.boxes.push(TrackedBox { frame, track, label, score, bounds });
            }
        }
        Step::Missing(_) => found.missing_frames += 1,
        _ => {}
    };
    let replayed = replay(streams, video, question, on_step).await?;
    found.tracker = replayed.started.tracking.tracker();
    found.is_finished = replayed.is_complete;
    Ok(found)
}

/// An object that counts.
#[derive(Clone, Debug, PartialEq)]
pub struct CountedBox {
    /// The frame's place among all frames of the video, from 0.
    pub place: usize,
    /// The object's class.
    pub label: String,
    /// The model's confidence, 0 to 1.
    pub score: f32,
    /// Left, top, right, bottom in pixels.
    pub bounds: [f32; 4],
}

/// The objects of a video that count.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CountedBoxes {
    /// By frame.
    pub boxes: Vec<CountedBox>,
    /// All frames of the video, those without a result included.
    pub frames: usize,
    /// Frames without a result: they could not be analysed, or it is not stored any more.
    pub unknown_frames: usize,
    /// True if the video is finished.
    pub is_finished: bool,
}

/// All objects of a video that count, of all results that are stored now.
pub async fn counted_boxes(
    streams: &Streams,
    video: &VideoId,
    threshold: Option<f32>,
) -> Result<CountedBoxes, ReplayError> {
    let mut found = CountedBoxes::default();
    let on_step = |_: &Started, step: Step<'_>| match step {
        Step::Frame(result) | Step::Still(result) => {
            let threshold = threshold.unwrap_or_else(|| own_threshold(result));
            let counted = result.objects.all().filter(|object| object.score > threshold);
            found.boxes.extend(counted.map(|object| CountedBox {
                place: found.frames,
                label: object.label.to_owned(),
                score: object.score,
                bounds: object.bounds,
            }));
            found.frames += 1;
        }
        Step::Failed | Step::Missing(_) => {
            found.frames += 1;
            found.unknown_frames += 1;
        }
        Step::Found(_) => {}
    };
    let replayed = replay(streams, video, &Question::default(), on_step).await?;
    found.is_finished = replayed.is_complete;
    Ok(found)
}

//! The fold over a video's results in frame order: tracks, lines, zones and alarms.
//!
//! The way of a frame:
//!
//! 1. [`Fold::frame`] gives it a time (`fold/clock.rs`).
//! 2. The tracker (`tracker.rs`) matches its objects with tracks.
//! 3. Each track that was seen adds the frame to its story (`fold/story.rs`): where it is in
//!    relation to lines and zones (`fold/shapes.rs`), its path (`fold/path.rs`).
//! 4. What happened to a confirmed track is counted (`fold/counts.rs`) and found. What happened to
//!    one before it was confirmed waits in its story.
//! 5. Rules are judged (`fold/rules.rs`).
//!
//! If it is [asked to](Fold::keep_timeline), it also keeps what happens over time
//! (`fold/timeline.rs`).
//!
//! The result is a function of the frames alone. Everything in the state has an order, nothing
//! depends on an address, a thread or a random number, and all arithmetic is exactly defined.

mod clock;
mod counts;
mod dwell;
mod observe;
mod occupancy;
mod path;
mod rules;
mod shapes;
mod story;
mod timeline;

use std::collections::BTreeMap;

use moliceiro_messages::{
    AlarmRule, AnalyticsSummary, Crossing, Line, MOST_PLACES, RaisedAlarm, Size, Timeline,
    TrackRecord, TrackerKind, Visit, Zone, check_places,
};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use self::clock::{ASSUMED_FPS, Clock};
use self::counts::{ByClass, Counts};
use self::rules::RuleState;
use self::story::Story;
use self::timeline::Intervals;
use crate::tracker::Tracker;

/// What is asked of a video.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Rules {
    /// How objects are recognised as the same one.
    pub tracker: TrackerKind,
    /// Lines to count crossings of.
    pub lines: Vec<Line>,
    /// Zones to count visits of.
    pub zones: Vec<Zone>,
    /// When to raise alarms. Those about other classes than `labels` are left out.
    pub alarms: Vec<AlarmRule>,
    /// The classes that count; empty: all.
    pub labels: Vec<String>,
}

/// What was found in a frame.
#[derive(Clone, Copy, Debug)]
pub struct FrameObservations<'a> {
    /// The frame's index.
    pub index: u64,
    /// The frame's presentation time in nanoseconds.
    pub pts: Option<u64>,
    /// Size of the frame, in whose pixels the boxes are. Without it, nothing crosses a line or is
    /// in a zone.
    pub size: Option<Size>,
    /// Objects with a greater score count. The others only continue tracks.
    pub threshold: f32,
    /// All objects, highest score first.
    pub objects: &'a [Observation<'a>],
}

/// An object in a frame.
#[derive(Clone, Copy, Debug)]
pub struct Observation<'a> {
    /// Its class.
    pub label: &'a str,
    /// The model's confidence, 0 to 1.
    pub score: f32,
    /// Left, top, right, bottom in pixels.
    pub bounds: [f32; 4],
}

/// What the fold finds, in an order that depends on nothing but the results.
#[derive(Clone, Debug, PartialEq)]
pub enum Finding {
    /// An object belongs to a track.
    Observed(Observed),
    /// A track crossed a line.
    Crossing(Crossing),
    /// A track left a zone.
    Visit(Visit),
    /// A rule raised an alarm.
    Alarm(RaisedAlarm),
    /// A track is finished.
    Track(TrackRecord),
}

/// An object that belongs to a track. It may be one of an earlier frame: a track has a number only
/// once it is confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Observed {
    /// The frame's index.
    pub frame: u64,
    /// The object's place among the frame's objects, from 0.
    pub object: u32,
    /// The track's number.
    pub track: u64,
}

/// The state of the fold between two frames.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fold {
    version: u8,
    rules: Rules,
    /// The classes of objects, in the order in which they came.
    labels: Vec<String>,
    clock: Clock,
    next: u64,
    tracker: Tracker,
    /// By serial of the track.
    stories: BTreeMap<u64, Story>,
    numbers: Numbers,
    /// Analysed frames.
    frames: u64,
    judged: Vec<RuleState>,
    counts: Counts,
    /// Of the videos before this one.
    before: Option<Counts>,
    /// Finished tracks of all videos.
    finished: ByClass,
    /// Not in a checkpoint: it is for those who read a video from its beginning.
    #[serde(skip)]
    intervals: Option<Intervals>,
}

/// How many there are so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Numbers {
    tracks: u64,
    finished: u64,
    crossings: u64,
    visits: u64,
    alarms: u64,
}

/// Bytes that are not the state of a fold of this release.
#[derive(Debug, Error)]
pub enum InvalidCheckpoint {
    /// They are not the CBOR of a fold.
    #[error("the state of the analytics cannot be read: {0}")]
    Cbor(String),
    /// Another release wrote them.
    #[error("the state of the analytics has version {0}, not the one of this program ({VERSION})")]
    Version(u8),
}

/// Changes with the state's fields, and with what is computed from the same results.
const VERSION: u8 = 2;

impl Fold {
    /// Before the first frame.
    pub fn new(rules: &Rules) -> Self {
        let rules = sensible(rules);
        Self {
            version: VERSION,
            labels: vec![],
            clock: Clock::default(),
            next: 0,
            tracker: Tracker::new(),
            stories: BTreeMap::new(),
            numbers: Numbers::default(),
            frames: 0,
            judged: vec![RuleState::default(); rules.alarms.len()],
            counts: Counts::new(&rules),
            before: None,
            finished: ByClass::new(),
            intervals: None,
            rules,
        }
    }

    /// Continues where `previous` is, in a new video: the next window of the same live source.
    /// Tracks and their numbers continue, what is counted begins at 0. A track that is open between
    /// two windows is in the counts of both, and once in [`source_summary`](Self::source_summary).
    ///
    /// A video that is continued does not [end](Self::end).
    pub fn continue_from(previous: Self, rules: &Rules) -> Self {
        let rules = sensible(rules);
        let mut fold = previous;
        let now = fold.clock.now();
        let mut counts = Counts::new(&rules);
        let mut before = Counts::new(&rules);
        let mut all = fold.before.take().unwrap_or_else(|| Counts::new(&fold.rules));
        all.add(&fold.counts, now);
        let line_of = |line: &Line| fold.rules.lines.iter().position(|old| old == line);
        let zone_of = |zone: &Zone| fold.rules.zones.iter().position(|old| old == zone);
        let lines: Vec<_> = rules.lines.iter().map(line_of).collect();
        let zones: Vec<_> = rules.zones.iter().map(zone_of).collect();
        for (n, old) in lines.iter().enumerate().filter_map(|(n, old)| Some((n, (*old)?))) {
            before.lines[n] = std::mem::take(&mut all.lines[old]);
        }
        for (n, old) in zones.iter().enumerate().filter_map(|(n, old)| Some((n, (*old)?))) {
            before.zones[n] = std::mem::take(&mut all.zones[old]);
            let occupied = fold.counts.zones[old].occupied.as_mut();
            counts.zones[n].occupied = occupied.map(|occupied| occupied.restart(now));
        }
        before.tracks = all.tracks;
        fold.stories.values_mut().for_each(|story| story.carry_on(&lines, &zones));
        if fold.rules.alarms != rules.alarms {
            fold.judged = vec![RuleState::default(); rules.alarms.len()];
            fold.stories.values_mut().for_each(|story| story.raised = 0);
        }
        if fold.rules.tracker != rules.tracker {
            (fold.tracker, fold.stories) = (Tracker::new(), BTreeMap::new());
        }
        fold.clock.restart();
        let numbers = Numbers { tracks: fold.numbers.tracks, ..Numbers::default() };
        Self {
            rules,
            counts,
            before: Some(before),
            numbers,
            next: 0,
            frames: 0,
            intervals: None,
            ..fold
        }
    }

    /// Keeps what happens over time, from the next frame on.
    pub fn keep_timeline(&mut self) {
        self.intervals = Some(Intervals::new(&self.rules));
    }

    /// Lines and zones over time, if it was [kept](Self::keep_timeline), and there are any.
    pub fn timeline(&self) -> Option<Timeline> {
        if self.rules.lines.is_empty() && self.rules.zones.is_empty() {
            return None;
        }
        let mut intervals = self.intervals.clone()?;
        let end = self.clock.now();
        for (place, zone) in self.counts.zones.iter().enumerate() {
            let mut hold = |held| intervals.hold(place, held);
            zone.occupied.iter().for_each(|occupied| occupied.rest(end, &mut hold));
        }
        Some(intervals.timeline(&self.rules, end))
    }

    /// The rules it was made with, without alarms that it cannot raise.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// A frame that could not be analysed: a gap. No rule holds in it.
    pub fn failed(&mut self, index: u64, pts: Option<u64>) {
        if index < self.next {
            return;
        }
        self.next = index.saturating_add(1);
        self.clock.skip(index, pts);
        self.judged.iter_mut().for_each(RuleState::fail);
    }

    /// How many alarms were raised.
    pub fn alarms(&self) -> u64 {
        self.numbers.alarms
    }

    /// Every frame with a smaller index is in it, or comes too late.
    pub fn next_frame(&self) -> u64 {
        self.next
    }

    /// What the frames up to now come to.
    pub fn summary(&self) -> AnalyticsSummary {
        self.summary_of(&self.counts, |story| story.is_of_this_video)
    }

    /// What all videos since the first one come to, of which this one is the last; see
    /// [`continue_from`](Self::continue_from).
    pub fn source_summary(&self) -> AnalyticsSummary {
        let mut all = self.before.clone().unwrap_or_else(|| Counts::new(&self.rules));
        all.add(&self.counts, self.clock.now());
        all.tracks = self.finished.clone();
        self.summary_of(&all, |_| true)
    }

    fn summary_of(&self, counts: &Counts, is_counted: impl Fn(&Story) -> bool) -> AnalyticsSummary {
        let mut tracks = counts.tracks.clone();
        let open = self.stories.values().filter(|story| story.number.is_some());
        open.filter(|story| is_counted(story))
            .for_each(|story| counts::add(&mut tracks, story.class));
        AnalyticsSummary {
            tracker: self.rules.tracker,
            tracks: counts::named(&tracks, &self.labels),
            lines: counts.lines(&self.rules, &self.labels),
            zones: counts.zones(&self.rules, &self.labels, self.clock.now()),
            assumed_fps: self.clock.assumed.then_some(ASSUMED_FPS),
        }
    }

    /// The state as CBOR: the same bytes for the same frames.
    pub fn to_bytes(&self) -> Vec<u8> {
        moliceiro_messages::to_cbor(self, 4096)
    }

    /// Reads what [`to_bytes`](Self::to_bytes) wrote.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, InvalidCheckpoint> {
        let fold: Self = ciborium::from_reader(bytes)
            .map_err(|reason| InvalidCheckpoint::Cbor(reason.to_string()))?;
        match fold.version {
            VERSION => Ok(fold),
            other => Err(InvalidCheckpoint::Version(other)),
        }
    }
}

/// The rules that a fold can judge: not more than a video can have, and alarms of classes that
/// count, with lines and zones that exist.
fn sensible(rules: &Rules) -> Rules {
    let Rules { tracker, mut lines, mut zones, mut alarms, labels } = rules.clone();
    if tracker == TrackerKind::None {
        (lines, zones) = (vec![], vec![]);
    }
    lines.truncate(MOST_PLACES);
    zones.truncate(MOST_PLACES);
    alarms.retain(|rule| {
        let counts = labels.is_empty() || labels.iter().any(|label| rule.counts(label));
        counts && check_places(tracker, &lines, &zones, std::slice::from_ref(rule)).is_ok()
    });
    alarms.truncate(AlarmRule::MOST);
    Rules { tracker, lines, zones, alarms, labels }
}

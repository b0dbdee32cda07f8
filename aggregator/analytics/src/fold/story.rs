//! What is known of one open track beyond where it is.

use std::collections::BTreeMap;

use moliceiro_messages::{Direction, Instant, LineCrossed, TimeInZone};
use serde::{Deserialize, Serialize};

use super::path::Path;
use super::shapes::{LineState, Point};

/// Objects of a track that is not confirmed, the last ones.
const MOST_EARLY: usize = 64;

/// Crossings of a track, the last ones.
const MOST_CROSSED: usize = 64;

/// A frame, its time as it says, and seconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "(u64, Option<u64>, f64)", into = "(u64, Option<u64>, f64)")]
pub(super) struct At {
    pub(super) frame: u64,
    pub(super) pts: Option<u64>,
    pub(super) seconds: f64,
}

impl From<(u64, Option<u64>, f64)> for At {
    fn from((frame, pts, seconds): (u64, Option<u64>, f64)) -> Self {
        Self { frame, pts, seconds }
    }
}

impl From<At> for (u64, Option<u64>, f64) {
    fn from(At { frame, pts, seconds }: At) -> Self {
        (frame, pts, seconds)
    }
}

impl From<At> for Instant {
    fn from(at: At) -> Self {
        Self { frame: at.frame, time_s: at.pts.map(|ns| ns as f64 / 1e9) }
    }
}

/// What happened at a line or in a zone, by its place among the rules.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Happened {
    Crossed { line: u8, direction: Direction, at: At },
    Entered { zone: u8, at: At },
    Left { zone: u8, entered: At, left: At },
}

/// Where a track stands still.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Stop {
    pub(super) at: Point,
    pub(super) since: f64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Story {
    /// Its number, once it is confirmed.
    pub(super) number: Option<u64>,
    pub(super) first: At,
    pub(super) last: At,
    pub(super) frames: u64,
    pub(super) class: u32,
    /// True if it was seen in this video, and not only in the one before.
    pub(super) is_of_this_video: bool,
    /// Until it is confirmed: its objects, and what happened.
    pub(super) objects: Vec<(u64, u32)>,
    pub(super) early: Vec<Happened>,
    /// Its box when it was last seen: left, top, right, bottom in heights of the picture.
    pub(super) bounds: Option<[f64; 4]>,
    pub(super) lines: Vec<LineState>,
    /// What it has crossed if it is not seen again.
    pub(super) last_crossings: Vec<(u8, Direction, At)>,
    /// The zones that it is in: when it entered, and when it was last seen there.
    pub(super) visits: BTreeMap<u8, (At, At)>,
    pub(super) stop: Option<Stop>,
    /// The rules that raised an alarm for this visit or this stop.
    pub(super) raised: u16,
    pub(super) path: Path,
    pub(super) crossed: Vec<LineCrossed>,
    pub(super) dwelt: BTreeMap<String, TimeInZone>,
}

impl Story {
    pub(super) fn new(at: At, lines: usize) -> Self {
        Self {
            number: None,
            first: at,
            last: at,
            frames: 0,
            class: 0,
            is_of_this_video: true,
            objects: vec![],
            early: vec![],
            bounds: None,
            lines: vec![LineState::default(); lines],
            last_crossings: vec![],
            visits: BTreeMap::new(),
            stop: None,
            raised: 0,
            path: Path::default(),
            crossed: vec![],
            dwelt: BTreeMap::new(),
        }
    }

    /// Continues in another video, whose lines and zones were those with the given places.
    pub(super) fn carry_on(&mut self, lines: &[Option<usize>], zones: &[Option<usize>]) {
        self.is_of_this_video = false;
        let state = |old: &Option<usize>| old.and_then(|old| self.lines.get(old).copied());
        self.lines = lines.iter().map(|old| state(old).unwrap_or_default()).collect();
        let place = |old: u8| zones.iter().position(|zone| *zone == Some(usize::from(old)));
        let place = |old: u8| place(old).and_then(|place| u8::try_from(place).ok());
        let visits = std::mem::take(&mut self.visits);
        self.visits =
            visits.into_iter().filter_map(|(zone, visit)| Some((place(zone)?, visit))).collect();
        // Objects of another video cannot be named in this one.
        (self.objects, self.early, self.last_crossings) = (vec![], vec![], vec![]);
    }

    pub(super) fn keep_object(&mut self, frame: u64, object: u32) {
        if self.objects.len() == MOST_EARLY {
            self.objects.remove(0);
        }
        self.objects.push((frame, object));
    }

    pub(super) fn keep_crossing(&mut self, crossed: LineCrossed) {
        if self.crossed.len() == MOST_CROSSED {
            self.crossed.remove(0);
        }
        self.crossed.push(crossed);
    }

    /// Keeps what happened before it is confirmed. It may leave and enter a zone a few times; what
    /// is too much for so short a time is left out.
    pub(super) fn keep_early(&mut self, happened: Happened) {
        if self.early.len() < MOST_EARLY {
            self.early.push(happened);
        }
    }
}

//! To add an alarm operator, add its [`Condition`], how it is written (`alarm_rule/parse.rs`) and
//! printed (below), and what raises it (`aggregator/analytics/src/fold/alarms.rs`).

mod parse;
mod region;
#[cfg(test)]
mod tests;

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use self::region::Region;
use self::region::{FEWEST_POINTS, MOST_POINTS};
use crate::place::{Direction, PlaceKind};
use crate::{FrameResult, Size};

const MAX_LABEL_LENGTH: usize = 100;
const MOST_FRAMES: u32 = 1_000_000;
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);

/// When to raise an alarm.
///
/// About the objects of a frame: `LABEL COMPARISON COUNT [in X,Y X,Y X,Y …] [for N frames]`.
/// `person > 10` is raised by every frame with more than ten persons. `boat >= 1 for 3 frames` is
/// raised by the third frame in a row with a boat, and again only after a frame without one.
/// `car >= 2 in 0,0.5 1,0.5 1,1 0,1` counts the cars in a polygon: the coordinates are fractions of
/// the picture's width and height, from its upper left corner.
///
/// About tracks, [lines](crate::Line) and [zones](crate::Zone): `person crosses gate`, in one
/// direction with `inwards` or `outwards`; `person in quay for 30s`, raised once by each visit that
/// lasts so long; `3 persons in quay`, raised when at least so many are there at once, and again
/// only after fewer were, with `for 30s` if they are for so long; `car stops for 10s in bay`, or
/// anywhere without `in bay`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AlarmRule {
    /// The class that it is about. In `3 persons in quay` it is as written: [`AlarmRule::counts`]
    /// knows the class.
    pub label: String,
    /// What raises it.
    pub condition: Condition,
}

/// What raises an alarm.
#[derive(Clone, Debug, PartialEq)]
pub enum Condition {
    /// `person > 10`
    Count {
        /// How the number of objects is compared with `count`.
        comparison: Comparison,
        /// The number of objects that it is compared with.
        count: u32,
        /// Where they are counted; `None`: in the whole picture.
        region: Option<Region>,
        /// In how many analysed frames in a row it must hold; 1: every frame in which it holds
        /// raises an alarm.
        frames: u32,
    },
    /// `person crosses gate inwards`
    Crosses {
        /// The line's name.
        line: String,
        /// `None`: either.
        direction: Option<Direction>,
    },
    /// `person in quay for 30s`
    Stays {
        /// The zone's name.
        zone: String,
        /// Without `for`, 0: every entry.
        time: Duration,
    },
    /// `3 persons in quay`
    Together {
        /// At least so many.
        count: u32,
        /// The zone's name.
        zone: String,
        /// How long at least; 0: at once.
        time: Duration,
    },
    /// `car stops for 10s in bay`
    Stops {
        /// How long at least.
        time: Duration,
        /// The zone's name; `None`: anywhere.
        zone: Option<String>,
    },
}

/// How a number of objects is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// `>`
    More,
    /// `>=`
    AtLeast,
    /// `<`
    Fewer,
    /// `<=`
    AtMost,
    /// `==`
    Exactly,
}

const COMPARISONS: [(&str, Comparison); 5] = [
    // The longer ones first: each starts with a shorter one.
    (">=", Comparison::AtLeast),
    ("<=", Comparison::AtMost),
    ("==", Comparison::Exactly),
    (">", Comparison::More),
    ("<", Comparison::Fewer),
];

/// A text that is not a rule.
#[derive(Clone, Debug, Error, PartialEq)]
#[error(
    "{rule:?} is not an alarm rule: {problem}; write one such as \"person > 10\", \
     \"boat >= 1 for 3 frames\", \"car >= 2 in 0,0.5 1,0.5 1,1 0,1\", \"person crosses gate\", \
     \"person in quay for 30s\", \"3 persons in quay\" or \"car stops for 10s in bay\""
)]
pub struct MalformedRule {
    /// Its first 80 characters.
    pub rule: String,
    /// What is wrong with it.
    pub problem: RuleProblem,
}

/// What is wrong with the text of a rule.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum RuleProblem {
    /// It does not have a verb or a comparison.
    #[error("it has none of > >= < <= == crosses in stops")]
    NoComparison,
    /// It has a comparison like `=`.
    #[error("comparisons are > >= < <= ==")]
    Comparison,
    /// It does not start with the name of a class.
    #[error("it must start with the name of a class, of 1 to {MAX_LABEL_LENGTH} bytes")]
    Label,
    /// The comparison is not followed by a number.
    #[error("{0:?} is not a number of objects")]
    Count(String),
    /// A region has too few or too many points.
    #[error("a region has {FEWEST_POINTS} to {MOST_POINTS} points, not {0}")]
    Points(usize),
    /// A point is not two numbers.
    #[error("{0:?} is not a point such as 0.25,0.5")]
    Point(String),
    /// A point lies outside the picture.
    #[error("the coordinate {0} is not from 0 to 1")]
    Coordinate(f32),
    /// `for` is not followed by a number.
    #[error("{0:?} is not a number of frames from 1 to {MOST_FRAMES}")]
    Frames(String),
    /// The number after `for` does not have a unit.
    #[error("the number of frames must be followed by \"frames\"")]
    FramesUnit,
    /// No name of a line or a zone follows.
    #[error("{0:?} is not the name of a {1}")]
    Place(String, PlaceKind),
    /// `for` is not followed by a time.
    #[error("{0:?} is not a time from 1ms to 7days, such as 30s")]
    Time(String),
    /// Something follows the rule.
    #[error("{0:?} is not expected there")]
    Unexpected(String),
}

impl AlarmRule {
    /// The most rules that a video can have.
    pub const MOST: usize = 16;

    /// More than `count` objects of a class in a frame.
    pub fn more_than(label: &str, count: u32) -> Self {
        let comparison = Comparison::More;
        let condition = Condition::Count { comparison, count, region: None, frames: 1 };
        Self { label: label.into(), condition }
    }

    /// True if the rule is about objects of this class. In `3 persons in quay`, it also is if the
    /// rule's word is the plural of the class.
    pub fn counts(&self, class: &str) -> bool {
        let is_plural = || {
            let written = &self.label[..];
            let ends = |ending: &str| written.strip_suffix(ending);
            written == crate::classes::plural(class)
                || ends("s") == Some(class)
                || ends("es") == Some(class)
                || ends("ies").zip(class.strip_suffix('y')).is_some_and(|(a, b)| a == b)
                || (written == "people" && class == "person")
        };
        self.label == class || (matches!(self.condition, Condition::Together { .. }) && is_plural())
    }

    /// True if it cannot be judged without a tracker.
    pub fn needs_tracks(&self) -> bool {
        !matches!(self.condition, Condition::Count { .. })
    }

    /// The line or the zone that it is about.
    pub fn place(&self) -> Option<(PlaceKind, &str)> {
        match &self.condition {
            Condition::Count { .. } | Condition::Stops { zone: None, .. } => None,
            Condition::Crosses { line, .. } => Some((PlaceKind::Line, line)),
            Condition::Stays { zone, .. }
            | Condition::Together { zone, .. }
            | Condition::Stops { zone: Some(zone), .. } => Some((PlaceKind::Zone, zone)),
        }
    }

    /// In how many frames in a row it must hold.
    pub fn frames(&self) -> u32 {
        match self.condition {
            Condition::Count { frames, .. } => frames,
            _ => 1,
        }
    }

    /// Objects of the rule's class in the frame, or in the rule's region if it has one.
    ///
    /// A frame of unknown size does not have any in a region.
    pub fn count_in(&self, frame: &FrameResult) -> u32 {
        let objects = frame.objects.counted().map(|object| (object.label, object.bounds));
        self.count_among(objects, frame.size)
    }

    /// The same for objects that are given by class and box, in a frame of this size.
    pub fn count_among<'a>(
        &self,
        objects: impl Iterator<Item = (&'a str, [f32; 4])>,
        size: Option<Size>,
    ) -> u32 {
        let Condition::Count { region, .. } = &self.condition else { return 0 };
        let inside = |[left, top, right, bottom]: [f32; 4]| match (region, size) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(region), Some(size)) => region.contains(
                (left + right) / 2.0 / size.width as f32,
                (top + bottom) / 2.0 / size.height as f32,
            ),
        };
        let counted = |&(label, bounds): &(&str, _)| label == self.label && inside(bounds);
        u32::try_from(objects.filter(counted).count()).unwrap_or(u32::MAX)
    }

    /// True if a rule about the objects of a frame holds for so many.
    pub fn holds(&self, objects: u32) -> bool {
        let Condition::Count { comparison, count, .. } = self.condition else { return false };
        match comparison {
            Comparison::More => objects > count,
            Comparison::AtLeast => objects >= count,
            Comparison::Fewer => objects < count,
            Comparison::AtMost => objects <= count,
            Comparison::Exactly => objects == count,
        }
    }
}

impl fmt::Display for AlarmRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let label = &self.label;
        let lasting = |f: &mut fmt::Formatter<'_>, time: &Duration| {
            if time.is_zero() { Ok(()) } else { write!(f, " for {}", written(*time)) }
        };
        match &self.condition {
            Condition::Count { comparison, count, region, frames } => {
                write!(f, "{label} {comparison} {count}")?;
                if let Some(Region(points)) = region {
                    f.write_str(" in")?;
                    points.iter().try_for_each(|[x, y]| write!(f, " {x},{y}"))?;
                }
                if *frames > 1 { write!(f, " for {frames} frames") } else { Ok(()) }
            }
            Condition::Crosses { line, direction } => {
                let direction = match direction {
                    None => "",
                    Some(Direction::In) => " inwards",
                    Some(Direction::Out) => " outwards",
                };
                write!(f, "{label} crosses {line}{direction}")
            }
            Condition::Stays { zone, time } => {
                write!(f, "{label} in {zone}")?;
                lasting(f, time)
            }
            Condition::Together { count, zone, time } => {
                write!(f, "{count} {label} in {zone}")?;
                lasting(f, time)
            }
            Condition::Stops { time, zone } => {
                write!(f, "{label} stops")?;
                lasting(f, time)?;
                zone.iter().try_for_each(|zone| write!(f, " in {zone}"))
            }
        }
    }
}

/// In one word, as it is read.
fn written(time: Duration) -> String {
    humantime::format_duration(time).to_string().replace(' ', "")
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = COMPARISONS.into_iter().find(|(_, comparison)| comparison == self);
        f.write_str(sign.map_or("", |(sign, _)| sign))
    }
}

impl TryFrom<String> for AlarmRule {
    type Error = MalformedRule;

    fn try_from(text: String) -> Result<Self, MalformedRule> {
        text.parse()
    }
}

impl From<AlarmRule> for String {
    fn from(rule: AlarmRule) -> Self {
        rule.to_string()
    }
}

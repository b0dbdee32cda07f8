use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{Detection, FrameResult, Versioned};
use crate::VideoId;

const MAX_LABEL_LENGTH: usize = 100;
const MOST_POINTS: usize = 64;
const FEWEST_POINTS: usize = 3;
const MOST_FRAMES: u32 = 1_000_000;

/// When to raise an alarm: `LABEL COMPARISON COUNT [in X,Y X,Y X,Y …] [for N frames]`.
///
/// `person > 10` is raised by each frame with more than ten persons. `boat >= 1 for 3 frames` is
/// raised by the third frame in a row with a boat, and again only after a frame without. `car >= 2
/// in 0,0.5 1,0.5 1,1 0,1` counts the cars in a polygon: the coordinates are shares of the
/// picture's width and height, from its upper left corner.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AlarmRule {
    /// The class that is counted.
    pub label: String,
    /// How many there are is compared with `count`.
    pub comparison: Comparison,
    /// What it is compared with.
    pub count: u32,
    /// Where they are counted; `None`: in the whole picture.
    pub region: Option<Region>,
    /// In how many looked-at frames in a row it must hold; 1: each frame in which it holds raises
    /// an alarm.
    pub frames: u32,
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
    // The longer ones first: each begins with a shorter one.
    (">=", Comparison::AtLeast),
    ("<=", Comparison::AtMost),
    ("==", Comparison::Exactly),
    (">", Comparison::More),
    ("<", Comparison::Fewer),
];

/// A polygon of at least three points, each `x, y` from 0 to 1.
#[derive(Clone, Debug, PartialEq)]
pub struct Region(Vec<[f32; 2]>);

/// A text that is no rule.
#[derive(Debug, Error, PartialEq, Eq)]
#[error(
    "{rule:?} is no alarm rule: {reason}; one is \"person > 10\", \"boat >= 1 for 3 frames\" or \"car >= 2 in 0,0.5 1,0.5 1,1 0,1\""
)]
pub struct MalformedRule {
    /// Its beginning.
    pub rule: String,
    /// What is wrong with it.
    pub reason: String,
}

impl AlarmRule {
    /// More rules than this a video cannot have.
    pub const MOST: usize = 16;

    /// More than `count` objects of a class in a frame.
    pub fn more_than(label: &str, count: u32) -> Self {
        Self { label: label.into(), comparison: Comparison::More, count, region: None, frames: 1 }
    }

    /// How many objects of the rule's class are in the frame, and in the rule's region if it has
    /// one.
    ///
    /// Where the frame's size is not known, nothing is in a region.
    pub fn count_in(&self, frame: &FrameResult) -> u32 {
        let inside = |detection: &&Detection| match (&self.region, frame.size) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(region), Some(size)) => {
                let [left, top, right, bottom] = detection.bounds;
                region.contains(
                    (left + right) / 2.0 / size.width as f32,
                    (top + bottom) / 2.0 / size.height as f32,
                )
            }
        };
        let count = frame
            .detections
            .iter()
            .filter(|detection| detection.label == self.label)
            .filter(inside)
            .count();
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    /// True if so many objects are what the rule waits for.
    pub fn holds(&self, count: u32) -> bool {
        match self.comparison {
            Comparison::More => count > self.count,
            Comparison::AtLeast => count >= self.count,
            Comparison::Fewer => count < self.count,
            Comparison::AtMost => count <= self.count,
            Comparison::Exactly => count == self.count,
        }
    }
}

impl Region {
    /// A polygon, if there are enough points and all are in the picture.
    fn new(points: Vec<[f32; 2]>) -> Result<Self, String> {
        if !(FEWEST_POINTS..=MOST_POINTS).contains(&points.len()) {
            return Err(format!(
                "a region has {FEWEST_POINTS} to {MOST_POINTS} points, not {}",
                points.len()
            ));
        }
        match points.iter().flatten().find(|c| !(0.0..=1.0).contains(*c)) {
            Some(outside) => Err(format!("the coordinate {outside} is not from 0 to 1")),
            None => Ok(Self(points)),
        }
    }

    /// True if the point is in the polygon: a line from it to one side crosses an odd number of the
    /// polygon's sides.
    fn contains(&self, x: f32, y: f32) -> bool {
        let ends = self.0.iter().cycle().skip(1);
        let crossed = |([x1, y1], [x2, y2]): &(&[f32; 2], &[f32; 2])| {
            (*y1 > y) != (*y2 > y) && x < (x2 - x1) * (y - y1) / (y2 - y1) + x1
        };
        self.0.iter().zip(ends).filter(crossed).count() % 2 == 1
    }
}

impl FromStr for AlarmRule {
    type Err = MalformedRule;

    fn from_str(text: &str) -> Result<Self, MalformedRule> {
        parse(text)
            .map_err(|reason| MalformedRule { rule: text.chars().take(80).collect(), reason })
    }
}

fn parse(text: &str) -> Result<AlarmRule, String> {
    let at = text.find(['<', '>', '=']).ok_or("it has none of > >= < <= ==")?;
    let (label, rest) = text.split_at(at);
    let label = label.split_whitespace().collect::<Vec<_>>().join(" ");
    if label.is_empty() || label.len() > MAX_LABEL_LENGTH {
        return Err(format!(
            "before the comparison stands the name of a class, of 1 to {MAX_LABEL_LENGTH} bytes"
        ));
    }
    let found = COMPARISONS
        .into_iter()
        .find_map(|(sign, comparison)| Some((comparison, rest.strip_prefix(sign)?)));
    let (comparison, rest) = found.ok_or("comparisons are > >= < <= ==")?;
    let mut words = rest.split_whitespace().peekable();
    let count = words.next().unwrap_or_default();
    let count = count.parse().map_err(|_| format!("{count:?} is no number of objects"))?;
    let region = match words.next_if_eq(&"in") {
        Some(_) => Some(Region::new(
            std::iter::from_fn(|| words.next_if(|word| *word != "for"))
                .map(point)
                .collect::<Result<_, _>>()?,
        )?),
        None => None,
    };
    let frames = match words.next_if_eq(&"for") {
        Some(_) => {
            let number = words.next().unwrap_or_default();
            let frames = number.parse().ok().filter(|n| (1..=MOST_FRAMES).contains(n));
            let frames = frames.ok_or_else(|| {
                format!("{number:?} is no number of frames from 1 to {MOST_FRAMES}")
            })?;
            words
                .next_if(|word| ["frame", "frames"].contains(word))
                .ok_or("after the number of frames stands \"frames\"")?;
            frames
        }
        None => 1,
    };
    match words.next() {
        Some(word) => Err(format!("{word:?} is not expected there")),
        None => Ok(AlarmRule { label, comparison, count, region, frames }),
    }
}

fn point(text: &str) -> Result<[f32; 2], String> {
    let point = text.split_once(',').and_then(|(x, y)| Some([x.parse().ok()?, y.parse().ok()?]));
    point.ok_or_else(|| format!("{text:?} is no point such as 0.25,0.5"))
}

impl fmt::Display for AlarmRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.label, self.comparison, self.count)?;
        if let Some(Region(points)) = &self.region {
            f.write_str(" in")?;
            points.iter().try_for_each(|[x, y]| write!(f, " {x},{y}"))?;
        }
        if self.frames > 1 {
            write!(f, " for {} frames", self.frames)?;
        }
        Ok(())
    }
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

/// A frame in which a rule holds; in JSON a short list of numbers, because a video's entry may hold
/// many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "(u64, Option<u64>, u8, u32)", into = "(u64, Option<u64>, u8, u32)")]
pub struct RuleMatch {
    /// The frame's index.
    pub frame: u64,
    /// The frame's presentation time in nanoseconds.
    pub pts: Option<u64>,
    /// Which of the video's rules, from 0.
    pub rule: u8,
    /// How many objects the rule counted.
    pub count: u32,
}

impl From<(u64, Option<u64>, u8, u32)> for RuleMatch {
    fn from((frame, pts, rule, count): (u64, Option<u64>, u8, u32)) -> Self {
        Self { frame, pts, rule, count }
    }
}

impl From<RuleMatch> for (u64, Option<u64>, u8, u32) {
    fn from(RuleMatch { frame, pts, rule, count }: RuleMatch) -> Self {
        (frame, pts, rule, count)
    }
}

/// A rule came true, as JSON on `alarms.<video>`; its [`Display`](fmt::Display) is the line that
/// people read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alarm {
    /// [`super::VERSION`]
    pub version: u8,
    /// The video's identity.
    pub video: VideoId,
    /// What people call it.
    pub name: String,
    /// Which of the video's alarms it is, from 1.
    pub number: u64,
    /// The index of the frame that raised it.
    pub frame: u64,
    /// That frame's presentation time, in seconds.
    pub time_s: Option<f64>,
    /// The rule.
    pub rule: AlarmRule,
    /// The rule's class.
    pub label: String,
    /// How many objects of the class the rule counted in the frame.
    pub count: u32,
}

impl Versioned for Alarm {
    fn version(&self) -> u8 {
        self.version
    }
}

/// The line that the system before this one printed, to the letter.
impl fmt::Display for Alarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Frame {}: {} <{}> detected", self.frame, self.count, self.label)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Size;

    fn rule(text: &str) -> AlarmRule {
        text.parse().unwrap()
    }

    #[test]
    fn a_rule_is_printed_as_it_is_read() {
        for (text, printed) in [
            ("person > 10", "person > 10"),
            ("boat>=1  for 3 frames", "boat >= 1 for 3 frames"),
            (" traffic   light == 0 ", "traffic light == 0"),
            ("car <= 2 for 1 frame", "car <= 2"),
            (
                "car >= 2 in 0.1,0.5 0.9,0.5 0.9,1 0.1,1 for 2 frames",
                "car >= 2 in 0.1,0.5 0.9,0.5 0.9,1 0.1,1 for 2 frames",
            ),
        ] {
            assert_eq!(rule(text).to_string(), printed);
            assert_eq!(rule(printed), rule(text));
            assert_eq!(serde_json::to_string(&rule(text)).unwrap(), format!("{printed:?}"));
        }
        assert_eq!(rule("person > 10"), AlarmRule::more_than("person", 10));
    }

    #[test]
    fn what_is_no_rule_is_told_with_what_would_do() {
        for (text, part) in [
            ("person", "none of > >="),
            ("> 10", "name of a class"),
            ("person = 10", "comparisons are"),
            ("person => 10", "comparisons are"),
            ("person > ten", "\"ten\" is no number"),
            ("person > -1", "\"-1\" is no number"),
            ("person > 1 for frames", "no number of frames"),
            ("person > 1 for 0 frames", "no number of frames"),
            ("person > 1 for 3", "stands \"frames\""),
            ("person > 1 for 3 frames in 0,0 1,0 1,1", "\"in\" is not expected"),
            ("person > 1 in 0,0 1,1", "3 to 64 points, not 2"),
            ("person > 1 in 0,0 1,1 2,1", "2 is not from 0 to 1"),
            ("person > 1 in 0,0 1,1 NaN,1", "not from 0 to 1"),
            ("person > 1 in 0,0 1,1 1", "\"1\" is no point"),
        ] {
            let error = text.parse::<AlarmRule>().unwrap_err().to_string();
            assert!(
                error.contains(part) && error.contains("one is \"person > 10\""),
                "{text}: {error}"
            );
        }
    }

    #[test]
    fn each_comparison_is_what_it_says() {
        for (sign, holds) in
            [(">", [false, false, true]), (">=", [false, true, true]), ("<", [true, false, false])]
        {
            assert_eq!([1, 2, 3].map(|n| rule(&format!("a {sign} 2")).holds(n)), holds, "{sign}");
        }
        assert_eq!([1, 2, 3].map(|n| rule("a <= 2").holds(n)), [true, true, false]);
        assert_eq!([1, 2, 3].map(|n| rule("a == 2").holds(n)), [false, true, false]);
    }

    #[test]
    fn an_object_is_in_a_region_if_its_centre_is() {
        let at = |x: f32, y: f32| Detection {
            label: "car".into(),
            score: 0.9,
            bounds: [x - 30.0, y - 2.0, x + 30.0, y + 2.0],
        };
        let size = Some(Size { width: 200, height: 100 });
        let detections = vec![at(20.0, 80.0), at(180.0, 20.0), at(100.0, 40.0), at(100.0, 60.0)];
        let frame = FrameResult {
            index: 0,
            pts: None,
            decoded_at: None,
            detections,
            size,
            processing_us: 0,
            detector: "d".into(),
            model: None,
        };
        for (region, count) in [
            ("", 4),
            (" in 0,0 1,0 1,1 0,1", 4),
            (" in 0,0.5 1,0.5 1,1 0,1", 2),
            (" in 0,0 1,1 0,1", 2),
            // Not convex: the notch leaves out what is above the middle.
            (" in 0,0 0.4,0 0.5,0.5 0.6,0 1,0 1,1 0,1", 3),
        ] {
            assert_eq!(rule(&format!("car > 0{region}")).count_in(&frame), count, "{region}");
            assert_eq!(rule(&format!("person > 0{region}")).count_in(&frame), 0);
        }
        let sizeless = FrameResult { size: None, ..frame };
        assert_eq!(rule("car > 0").count_in(&sizeless), 4);
        assert_eq!(rule("car > 0 in 0,0 1,0 1,1 0,1").count_in(&sizeless), 0);
    }
}

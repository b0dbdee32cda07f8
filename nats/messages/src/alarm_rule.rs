use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{FrameResult, Object};

const MAX_LABEL_LENGTH: usize = 100;
const MOST_POINTS: usize = 64;
const FEWEST_POINTS: usize = 3;
const MOST_FRAMES: u32 = 1_000_000;

/// When to raise an alarm: `LABEL COMPARISON COUNT [in X,Y X,Y X,Y …] [for N frames]`.
///
/// `person > 10` is raised by every frame with more than ten persons. `boat >= 1 for 3 frames` is
/// raised by the third frame in a row with a boat, and again only after a frame without one.
/// `car >= 2 in 0,0.5 1,0.5 1,1 0,1` counts the cars in a polygon: the coordinates are fractions of
/// the picture's width and height, from its upper left corner.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AlarmRule {
    /// The class that is counted.
    pub label: String,
    /// How the number of objects is compared with `count`.
    pub comparison: Comparison,
    /// The number of objects that it is compared with.
    pub count: u32,
    /// Where they are counted; `None`: in the whole picture.
    pub region: Option<Region>,
    /// In how many analysed frames in a row it must hold; 1: every frame in which it holds raises
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
    // The longer ones first: each starts with a shorter one.
    (">=", Comparison::AtLeast),
    ("<=", Comparison::AtMost),
    ("==", Comparison::Exactly),
    (">", Comparison::More),
    ("<", Comparison::Fewer),
];

/// A polygon of at least three points, each `x, y` from 0 to 1.
#[derive(Clone, Debug, PartialEq)]
pub struct Region(Vec<[f32; 2]>);

/// A text that is not a rule.
#[derive(Clone, Debug, Error, PartialEq)]
#[error(
    "{rule:?} is not an alarm rule: {problem}; write one such as \"person > 10\", \
     \"boat >= 1 for 3 frames\" or \"car >= 2 in 0,0.5 1,0.5 1,1 0,1\""
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
    /// It does not compare anything.
    #[error("it has none of > >= < <= ==")]
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
    /// Something follows the rule.
    #[error("{0:?} is not expected there")]
    Unexpected(String),
}

impl AlarmRule {
    /// The most rules that a video can have.
    pub const MOST: usize = 16;

    /// More than `count` objects of a class in a frame.
    pub fn more_than(label: &str, count: u32) -> Self {
        Self { label: label.into(), comparison: Comparison::More, count, region: None, frames: 1 }
    }

    /// Objects of the rule's class in the frame, or in the rule's region if it has one.
    ///
    /// A frame of unknown size does not have any in a region.
    pub fn count_in(&self, frame: &FrameResult) -> u32 {
        let inside = |object: &Object<'_>| match (&self.region, frame.size) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(region), Some(size)) => {
                let [left, top, right, bottom] = object.bounds;
                region.contains(
                    (left + right) / 2.0 / size.width as f32,
                    (top + bottom) / 2.0 / size.height as f32,
                )
            }
        };
        let of_class = frame.objects.counted().filter(|object| object.label == self.label);
        let count = of_class.filter(inside).count();
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    /// True if the rule holds for so many objects.
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
    fn new(points: Vec<[f32; 2]>) -> Result<Self, RuleProblem> {
        if !(FEWEST_POINTS..=MOST_POINTS).contains(&points.len()) {
            return Err(RuleProblem::Points(points.len()));
        }
        match points.iter().flatten().find(|c| !(0.0..=1.0).contains(*c)) {
            Some(outside) => Err(RuleProblem::Coordinate(*outside)),
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
            .map_err(|problem| MalformedRule { rule: text.chars().take(80).collect(), problem })
    }
}

fn parse(text: &str) -> Result<AlarmRule, RuleProblem> {
    let at = text.find(['<', '>', '=']).ok_or(RuleProblem::NoComparison)?;
    let (label, rest) = text.split_at(at);
    let label = label.split_whitespace().collect::<Vec<_>>().join(" ");
    if label.is_empty() || label.len() > MAX_LABEL_LENGTH {
        return Err(RuleProblem::Label);
    }
    let found = COMPARISONS
        .into_iter()
        .find_map(|(sign, comparison)| Some((comparison, rest.strip_prefix(sign)?)));
    let (comparison, rest) = found.ok_or(RuleProblem::Comparison)?;
    let mut words = rest.split_whitespace().peekable();
    let count = words.next().unwrap_or_default();
    let count = count.parse().map_err(|_| RuleProblem::Count(count.to_owned()))?;
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
            let frames = frames.ok_or_else(|| RuleProblem::Frames(number.to_owned()))?;
            words
                .next_if(|word| ["frame", "frames"].contains(word))
                .ok_or(RuleProblem::FramesUnit)?;
            frames
        }
        None => 1,
    };
    match words.next() {
        Some(word) => Err(RuleProblem::Unexpected(word.to_owned())),
        None => Ok(AlarmRule { label, comparison, count, region, frames }),
    }
}

fn point(text: &str) -> Result<[f32; 2], RuleProblem> {
    let point = text.split_once(',').and_then(|(x, y)| Some([x.parse().ok()?, y.parse().ok()?]));
    point.ok_or_else(|| RuleProblem::Point(text.to_owned()))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Detection, Size};

    fn rule(text: &str) -> AlarmRule {
        text.parse().unwrap()
    }

    #[test]
    fn a_rule_survives_a_round_trip_through_text() {
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
    fn a_malformed_rule_is_refused_with_the_reason_and_examples() {
        for (text, part) in [
            ("person", "none of > >="),
            ("> 10", "name of a class"),
            ("person = 10", "comparisons are"),
            ("person => 10", "comparisons are"),
            ("person > ten", "\"ten\" is not a number"),
            ("person > -1", "\"-1\" is not a number"),
            ("person > 1 for frames", "not a number of frames"),
            ("person > 1 for 0 frames", "not a number of frames"),
            ("person > 1 for 3", "followed by \"frames\""),
            ("person > 1 for 3 frames in 0,0 1,0 1,1", "\"in\" is not expected"),
            ("person > 1 in 0,0 1,1", "3 to 64 points, not 2"),
            ("person > 1 in 0,0 1,1 2,1", "2 is not from 0 to 1"),
            ("person > 1 in 0,0 1,1 NaN,1", "not from 0 to 1"),
            ("person > 1 in 0,0 1,1 1", "\"1\" is not a point"),
        ] {
            let error = text.parse::<AlarmRule>().unwrap_err().to_string();
            assert!(
                error.contains(part) && error.contains("such as \"person > 10\""),
                "{text}: {error}"
            );
        }
    }

    #[test]
    fn each_comparison_holds_for_the_counts_it_names() {
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
            objects: detections.try_into().unwrap(),
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
            // Not convex: the notch excludes the area above the middle.
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

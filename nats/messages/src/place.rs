//! Lines and zones: where in the picture tracks are counted.

mod head;
mod line;
mod zone;

use thiserror::Error;

pub use self::head::Anchor;
pub(crate) use self::head::check_name;
pub use self::line::{Direction, Line};
pub use self::zone::Zone;

/// The most lines, and the most zones, that a video can have.
pub const MOST_PLACES: usize = 64;

/// Longest name of a line or zone, in bytes.
const MAX_NAME: usize = 64;
/// The most classes that one can name.
const MOST_LABELS: usize = 100;
const MAX_LABEL: usize = 100;
const FEWEST_CORNERS: usize = 3;
const MOST_CORNERS: usize = 64;

/// Line or zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlaceKind {
    /// A [`Line`].
    Line,
    /// A [`Zone`].
    Zone,
}

impl std::fmt::Display for PlaceKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl PlaceKind {
    /// The field of an upload, and the word in an error.
    pub fn name(self) -> &'static str {
        match self {
            Self::Line => "line",
            Self::Zone => "zone",
        }
    }

    fn example(self) -> &'static str {
        match self {
            Self::Line => "gate: 0.1,0.8 0.9,0.8",
            Self::Zone => "quay: 0,0.5 1,0.5 1,1 0,1",
        }
    }
}

/// A text that is not a line or a zone.
#[derive(Clone, Debug, PartialEq, Error)]
#[error("{text:?} is not a {}: {problem}; write one such as {:?}", .kind.name(), .kind.example())]
pub struct MalformedPlace {
    /// What it should have been.
    pub kind: PlaceKind,
    /// Its first 80 characters.
    pub text: String,
    /// What is wrong with it.
    pub problem: PlaceProblem,
}

/// What is wrong with the text of a line or a zone.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum PlaceProblem {
    /// There is no `:` after the name.
    #[error("a colon must follow its name")]
    NoColon,
    /// The name is empty, too long, or has other characters.
    #[error("a name is 1 to {MAX_NAME} bytes of letters, digits, '-', '_' and '.', not {0:?}")]
    Name(String),
    /// The classes in brackets are not a list.
    #[error("classes are written as [person,car], at most {MOST_LABELS}")]
    Labels,
    /// Not an anchor.
    #[error("{text:?} is not a point of a box: {names}", text = .0, names = Anchor::NAMES.join(", "))]
    Anchor(String),
    /// A point is not two numbers.
    #[error("{0:?} is not a point such as 0.25,0.5")]
    Point(String),
    /// It lies outside the picture.
    #[error("the coordinate {0} is not from 0 to 1")]
    Coordinate(f64),
    /// A line does not have two points.
    #[error("a line has 2 points, not {0}")]
    Ends(usize),
    /// The two points of a line are the same one.
    #[error("the line has no length")]
    NoLength,
    /// A zone has too few or too many points.
    #[error("a zone has {FEWEST_CORNERS} to {MOST_CORNERS} points, not {0}")]
    Corners(usize),
    /// Two sides of a zone cross or touch each other.
    #[error("its sides {0} and {1} cross or touch each other")]
    Crossed(usize, usize),
    /// A zone has no area.
    #[error("the zone has no area")]
    NoArea,
}

/// Lines, zones and alarm rules that do not fit together.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum InvalidPlaces {
    /// There are too many lines or zones.
    #[error("must be at most {MOST_PLACES}, not {1}")]
    TooMany(PlaceKind, usize),
    /// Two have the same name.
    #[error("have the name {1:?} twice")]
    Duplicate(PlaceKind, String),
    /// A rule names a line or a zone that the video does not have.
    #[error("have {rule:?}, and there is not a {} {name:?}", .kind.name())]
    Unknown {
        /// The rule.
        rule: String,
        /// Whether it names a line or a zone.
        kind: PlaceKind,
        /// The name.
        name: String,
    },
    /// A rule needs tracks, and nothing is tracked.
    #[error("have {rule:?}, which needs a tracker, and \"tracker\" is \"none\"")]
    NoTracker {
        /// The rule.
        rule: String,
    },
    /// There are lines or zones, and nothing is tracked.
    #[error("need a tracker, and \"tracker\" is \"none\"")]
    Untracked(PlaceKind),
}

impl InvalidPlaces {
    /// The upload's field.
    pub fn field(&self) -> &'static str {
        match self {
            Self::TooMany(kind, _) | Self::Duplicate(kind, _) | Self::Untracked(kind) => match kind
            {
                PlaceKind::Line => "lines",
                PlaceKind::Zone => "zones",
            },
            Self::Unknown { .. } | Self::NoTracker { .. } => "alarms",
        }
    }
}

/// Checks that lines, zones and rules fit together: not too many, no name twice, no rule about
/// something else. Does not check classes, which depend on the model.
pub fn check_places(
    tracker: super::TrackerKind,
    lines: &[Line],
    zones: &[Zone],
    alarms: &[super::AlarmRule],
) -> Result<(), InvalidPlaces> {
    let names = |kind, names: Vec<&str>| {
        if names.len() > MOST_PLACES {
            return Err(InvalidPlaces::TooMany(kind, names.len()));
        }
        let twice = |(n, name): &(usize, &&str)| names.iter().take(*n).any(|other| other == *name);
        match names.iter().enumerate().find(twice) {
            Some((_, name)) => Err(InvalidPlaces::Duplicate(kind, (*name).to_owned())),
            None if tracker == super::TrackerKind::None && !names.is_empty() => {
                Err(InvalidPlaces::Untracked(kind))
            }
            None => Ok(()),
        }
    };
    names(PlaceKind::Line, lines.iter().map(|line| &line.name[..]).collect())?;
    names(PlaceKind::Zone, zones.iter().map(|zone| &zone.name[..]).collect())?;
    for rule in alarms.iter().filter(|rule| rule.needs_tracks()) {
        if tracker == super::TrackerKind::None {
            return Err(InvalidPlaces::NoTracker { rule: rule.to_string() });
        }
        let Some((kind, name)) = rule.place() else { continue };
        let known = match kind {
            PlaceKind::Line => lines.iter().any(|line| line.name == name),
            PlaceKind::Zone => zones.iter().any(|zone| zone.name == name),
        };
        if !known {
            let (rule, name) = (rule.to_string(), name.to_owned());
            return Err(InvalidPlaces::Unknown { rule, kind, name });
        }
    }
    Ok(())
}

fn malformed(kind: PlaceKind, text: &str) -> impl FnOnce(PlaceProblem) -> MalformedPlace {
    let text = text.chars().take(80).collect();
    move |problem| MalformedPlace { kind, text, problem }
}

/// The points after the colon. More than a zone can have are not read.
fn points(text: &str) -> Result<Vec<[f64; 2]>, PlaceProblem> {
    let count = text.split_whitespace().count();
    if count > MOST_CORNERS {
        return Err(PlaceProblem::Corners(count));
    }
    text.split_whitespace().map(point).collect()
}

fn point(text: &str) -> Result<[f64; 2], PlaceProblem> {
    let malformed = || PlaceProblem::Point(text.chars().take(80).collect());
    let (x, y) = text.split_once(',').ok_or_else(malformed)?;
    let coordinate = |text: &str| {
        let value: f64 = text.parse().map_err(|_| malformed())?;
        // Without the sign of -0, which would be printed.
        if (0.0..=1.0).contains(&value) {
            Ok(value + 0.0)
        } else {
            Err(PlaceProblem::Coordinate(value))
        }
    };
    Ok([coordinate(x)?, coordinate(y)?])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AlarmRule, TrackerKind};

    #[test]
    fn lines_zones_and_rules_have_to_fit_together() {
        let line = |name: &str| format!("{name}: 0,0 1,1").parse::<Line>().unwrap();
        let zone = |name: &str| format!("{name}: 0,0 1,0 1,1").parse::<Zone>().unwrap();
        let rule = |text: &str| text.parse::<AlarmRule>().unwrap();
        let check = |lines: &[Line], zones: &[Zone], rules: &[&str]| {
            let rules: Vec<_> = rules.iter().map(|text| rule(text)).collect();
            check_places(TrackerKind::Bytetrack, lines, zones, &rules)
        };
        // A line and a zone may have the same name.
        let rules = ["person > 1", "person crosses a", "person in a", "car stops for 1s"];
        assert_eq!(check(&[line("a"), line("b")], &[zone("a")], &rules), Ok(()));

        let many: Vec<_> = (0..10_000).map(|n| line(&n.to_string())).collect();
        for (error, field, text) in [
            (check(&many, &[], &[]), "lines", "must be at most 64, not 10000"),
            (check(&[line("a"), line("a")], &[], &[]), "lines", "have the name \"a\" twice"),
            (check(&[], &[zone("a"), zone("a")], &[]), "zones", "have the name \"a\" twice"),
            (
                check(&[line("a")], &[], &["person in a"]),
                "alarms",
                "have \"person in a\", and there is not a zone \"a\"",
            ),
            (
                check(&[], &[zone("a")], &["person crosses a"]),
                "alarms",
                "have \"person crosses a\", and there is not a line \"a\"",
            ),
            (
                check_places(TrackerKind::None, &[line("a")], &[], &[]),
                "lines",
                "need a tracker, and \"tracker\" is \"none\"",
            ),
            (
                check_places(TrackerKind::None, &[], &[], &[rule("car stops for 1s")]),
                "alarms",
                "have \"car stops for 1s\", which needs a tracker, and \"tracker\" is \"none\"",
            ),
        ] {
            let error = error.unwrap_err();
            assert_eq!((error.field(), error.to_string().as_str()), (field, text));
        }
    }
}

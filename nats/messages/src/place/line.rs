use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::head::{Anchor, Head};
use super::{MalformedPlace, PlaceKind, PlaceProblem, malformed, points};

/// A line that objects cross: `NAME[CLASS,CLASS]@ANCHOR: X,Y X,Y`.
///
/// `gate: 0.1,0.8 0.9,0.8` counts every object whose lower side's middle crosses it;
/// `road[car,truck]@centre: 0.5,0 0.5,1` cars and trucks by their centre. Coordinates are shares of
/// the picture's width and height, from its upper left corner.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Line {
    /// Its name, of letters, digits, `-`, `_` and `.`.
    pub name: String,
    /// The classes that it counts; empty: all.
    pub labels: Vec<String>,
    /// The point of an object's box that crosses it.
    pub anchor: Anchor,
    /// Its first point.
    pub from: [f64; 2],
    /// Its second point.
    pub to: [f64; 2],
}

/// From which side a line is crossed.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// From the left of the line to its right, as seen on the way from its first to its second
    /// point: downwards, if the line is drawn from left to right.
    In,
    /// The other way.
    Out,
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::In => "in",
            Self::Out => "out",
        })
    }
}

impl Line {
    /// True if it counts objects of this class.
    pub fn counts(&self, label: &str) -> bool {
        self.labels.is_empty() || self.labels.iter().any(|counted| counted == label)
    }
}

impl FromStr for Line {
    type Err = MalformedPlace;

    fn from_str(text: &str) -> Result<Self, MalformedPlace> {
        parse(text).map_err(malformed(PlaceKind::Line, text))
    }
}

fn parse(text: &str) -> Result<Line, PlaceProblem> {
    let (Head { name, labels, anchor }, rest) = Head::parse(text)?;
    let points = points(rest).map_err(|problem| match problem {
        PlaceProblem::Corners(n) => PlaceProblem::Ends(n),
        problem => problem,
    })?;
    let &[from, to] = &points[..] else { return Err(PlaceProblem::Ends(points.len())) };
    if from == to {
        return Err(PlaceProblem::NoLength);
    }
    Ok(Line { name, labels, anchor, from, to })
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Head::write(f, &self.name, &self.labels, self.anchor)?;
        [self.from, self.to].iter().try_for_each(|[x, y]| write!(f, " {x},{y}"))
    }
}

impl TryFrom<String> for Line {
    type Error = MalformedPlace;

    fn try_from(text: String) -> Result<Self, MalformedPlace> {
        text.parse()
    }
}

impl From<Line> for String {
    fn from(line: Line) -> Self {
        line.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_survives_a_round_trip_through_text() {
        for (text, printed) in [
            ("gate: 0.1,0.8 0.9,0.8", "gate: 0.1,0.8 0.9,0.8"),
            (" gate :0,-0 1e0,1", "gate: 0,0 1,1"),
            ("a-b_c.1[car]: 0,0 1,1", "a-b_c.1[car]: 0,0 1,1"),
            (
                "été[traffic  light, car,car] @ center : 0,0 1,1",
                "été[traffic light,car]@centre: 0,0 1,1",
            ),
            ("gate@bottom: 0,0 1,1", "gate: 0,0 1,1"),
            ("gate[a:b]@left: 0,0 1,1", "gate[a:b]@left: 0,0 1,1"),
        ] {
            let line: Line = text.parse().unwrap();
            assert_eq!(line.to_string(), printed);
            assert_eq!(printed.parse::<Line>().unwrap(), line);
            assert_eq!(serde_json::to_string(&line).unwrap(), format!("{printed:?}"));
        }
    }

    #[test]
    fn a_malformed_line_is_refused_with_the_reason_and_an_example() {
        let corners = "0,0 ".repeat(10_000);
        for (text, part) in [
            ("", "colon"),
            ("gate", "colon"),
            ("gate 0,0 1,1", "colon"),
            ("gate[car] 0,0 1,1", "colon"),
            ("gate@top 0,0 1,1", "colon"),
            (": 0,0 1,1", "a name is"),
            ("a b: 0,0 1,1", "a name is"),
            ("a/b: 0,0 1,1", "a name is"),
            ("gate[]: 0,0 1,1", "classes are written"),
            ("gate[car: 0,0 1,1", "classes are written"),
            ("gate@middle: 0,0 1,1", "\"middle\" is not a point of a box: bottom, centre"),
            ("gate: 0 1,1", "\"0\" is not a point"),
            ("gate: 0,x 1,1", "\"0,x\" is not a point"),
            ("gate: 0,0 1,1.5", "1.5 is not from 0 to 1"),
            ("gate: 0,0 NaN,1", "NaN is not from 0 to 1"),
            ("gate: 0,0 inf,1", "inf is not from 0 to 1"),
            ("gate: 0,0", "2 points, not 1"),
            ("gate: 0,0 1,1 0,1", "2 points, not 3"),
            (&format!("gate: {corners}"), "2 points, not 10000"),
            ("gate: 0.5,0.5 0.50,0.5", "no length"),
        ] {
            let error = text.parse::<Line>().unwrap_err().to_string();
            assert!(error.contains(part) && error.contains("is not a line"), "{text}: {error}");
            assert!(error.len() < 400 && error.contains("such as \"gate: "), "{error}");
        }
    }
}

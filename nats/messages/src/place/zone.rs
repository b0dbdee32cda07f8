use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::head::{Anchor, Head};
use super::{
    FEWEST_CORNERS, MOST_CORNERS, MalformedPlace, PlaceKind, PlaceProblem, malformed, points,
};

/// A polygon that objects are in: `NAME[CLASS,CLASS]@ANCHOR: X,Y X,Y X,Y …`.
///
/// `quay: 0,0.5 1,0.5 1,1 0,1` is the lower half of the picture. The classes and the anchor are as
/// those of a [`Line`](super::Line).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Zone {
    /// Its name, of letters, digits, `-`, `_` and `.`.
    pub name: String,
    /// The classes that it counts; empty: all.
    pub labels: Vec<String>,
    /// The point of an object's box that is in it.
    pub anchor: Anchor,
    /// Its corners.
    pub corners: Vec<[f64; 2]>,
}

impl Zone {
    /// True if it counts objects of this class.
    pub fn counts(&self, label: &str) -> bool {
        self.labels.is_empty() || self.labels.iter().any(|counted| counted == label)
    }
}

impl FromStr for Zone {
    type Err = MalformedPlace;

    fn from_str(text: &str) -> Result<Self, MalformedPlace> {
        parse(text).map_err(malformed(PlaceKind::Zone, text))
    }
}

fn parse(text: &str) -> Result<Zone, PlaceProblem> {
    let (Head { name, labels, anchor }, rest) = Head::parse(text)?;
    let corners = points(rest)?;
    if !(FEWEST_CORNERS..=MOST_CORNERS).contains(&corners.len()) {
        return Err(PlaceProblem::Corners(corners.len()));
    }
    check_shape(&corners)?;
    Ok(Zone { name, labels, anchor, corners })
}

/// Sides may share a corner with their neighbours, and nothing else.
fn check_shape(corners: &[[f64; 2]]) -> Result<(), PlaceProblem> {
    let n = corners.len();
    let side = |i: usize| (corners[i], corners[(i + 1) % n]);
    let area: f64 = (0..n).map(side).map(|([x1, y1], [x2, y2])| x1 * y2 - x2 * y1).sum();
    for i in 0..n {
        for j in i + 1..n {
            let ((a, b), (c, d)) = (side(i), side(j));
            let bad = if j == i + 1 {
                folds_back(a, b, d)
            } else if i == 0 && j == n - 1 {
                folds_back(c, d, b)
            } else {
                touch(a, b, c, d)
            };
            // A triangle whose sides touch has no area, which says more.
            if bad && (n > FEWEST_CORNERS || area.abs() > f64::EPSILON) {
                return Err(PlaceProblem::Crossed(i + 1, j + 1));
            }
        }
    }
    if area.abs() <= f64::EPSILON { Err(PlaceProblem::NoArea) } else { Ok(()) }
}

/// Positive, negative or 0: on which side of the line through `a` and `b` the point lies.
fn turn([ax, ay]: [f64; 2], [bx, by]: [f64; 2], [x, y]: [f64; 2]) -> f64 {
    (bx - ax) * (y - ay) - (by - ay) * (x - ax)
}

/// True if the side from `b` to `c` lies on the one from `a` to `b`, or has no length.
fn folds_back(a: [f64; 2], b: [f64; 2], c: [f64; 2]) -> bool {
    let along = (b[0] - a[0]) * (c[0] - b[0]) + (b[1] - a[1]) * (c[1] - b[1]);
    a == b || b == c || (turn(a, b, c) == 0.0 && along < 0.0)
}

/// True if two line segments have a point in common.
fn touch(a: [f64; 2], b: [f64; 2], c: [f64; 2], d: [f64; 2]) -> bool {
    let (c_side, d_side) = (turn(a, b, c), turn(a, b, d));
    let (a_side, b_side) = (turn(c, d, a), turn(c, d, b));
    let apart = |one: f64, other: f64| (one > 0.0 && other > 0.0) || (one < 0.0 && other < 0.0);
    if apart(c_side, d_side) || apart(a_side, b_side) {
        return false;
    }
    // On one line, they touch if their extents do.
    let extents = |k: usize| a[k].min(b[k]) <= c[k].max(d[k]) && c[k].min(d[k]) <= a[k].max(b[k]);
    extents(0) && extents(1)
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Head::write(f, &self.name, &self.labels, self.anchor)?;
        self.corners.iter().try_for_each(|[x, y]| write!(f, " {x},{y}"))
    }
}

impl TryFrom<String> for Zone {
    type Error = MalformedPlace;

    fn try_from(text: String) -> Result<Self, MalformedPlace> {
        text.parse()
    }
}

impl From<Zone> for String {
    fn from(zone: Zone) -> Self {
        zone.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zone_survives_a_round_trip_through_text() {
        for text in [
            "quay: 0,0.5 1,0.5 1,1 0,1",
            "quay[person,dog]@centre: 0,0 1,0 0.5,1",
            // Not convex, with a corner on a straight side.
            "bay: 0,0 0.4,0 0.5,0.5 0.6,0 1,0 1,0.5 1,1 0,1",
        ] {
            let zone: Zone = text.parse().unwrap();
            assert_eq!(zone.to_string(), text);
            assert_eq!(serde_json::to_string(&zone).unwrap(), format!("{text:?}"));
            assert_eq!(serde_json::from_str::<Zone>(&format!("{text:?}")).unwrap(), zone);
        }
    }

    #[test]
    fn a_malformed_zone_is_refused_with_the_reason_and_an_example() {
        let corners = "0,0 ".repeat(10_000);
        for (text, part) in [
            ("quay", "colon"),
            ("quay: 0,0 1,1", "3 to 64 points, not 2"),
            (&format!("quay: {corners}"), "3 to 64 points, not 10000"),
            ("quay: 0,0 1,0 1,2", "2 is not from 0 to 1"),
            ("quay: 0,0 1,0 -0.1,1", "-0.1 is not from 0 to 1"),
            ("quay: 0,0 0.5,0.5 1,1", "no area"),
            ("quay: 0,0 0,0 0,0", "no area"),
            ("quay: 0,0 1,1 1,0 0,1", "sides 1 and 3 cross"),
            ("quay: 0,0 1,0 1,1 0.5,0 0,1", "sides 1 and 3 cross or touch"),
            ("quay: 0,0 1,0 0.5,0 0,1", "sides 1 and 2 cross or touch"),
            ("quay: 0,0 1,0 1,0 0,1", "sides 1 and 2 cross or touch"),
        ] {
            let error = text.parse::<Zone>().unwrap_err().to_string();
            assert!(error.contains(part) && error.contains("is not a zone"), "{text}: {error}");
            assert!(error.len() < 400 && error.contains("such as \"quay: "), "{error}");
        }
    }
}

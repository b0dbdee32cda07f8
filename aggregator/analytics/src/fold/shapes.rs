//! Lines and zones in heights of the picture, so that distances are the same in all directions.

use moliceiro_messages::{Direction, Line, Zone};
use serde::{Deserialize, Serialize};

/// A point.
pub(super) type Point = [f64; 2];

/// Where a track is in relation to a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "u8", into = "u8")]
pub(super) struct LineState {
    /// The side on which it certainly was; `None`: it was not far enough from the line yet.
    pub(super) side: Option<Side>,
    /// The side on which it seemed to be last, and whether it came there between the ends of the
    /// line.
    seems: Option<(Side, bool)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Left,
    Right,
}

impl Side {
    fn of(distance: f64) -> Self {
        if distance < 0.0 { Self::Left } else { Self::Right }
    }
}

// Few bytes: every open track has a state for every line.
impl From<u8> for LineState {
    fn from(byte: u8) -> Self {
        let side = |bits: u8| match bits & 3 {
            0 => None,
            1 => Some(Side::Left),
            _ => Some(Side::Right),
        };
        Self { side: side(byte), seems: side(byte >> 2).map(|seems| (seems, byte & 16 != 0)) }
    }
}

impl From<LineState> for u8 {
    fn from(state: LineState) -> Self {
        let bits = |side: Option<Side>| match side {
            None => 0,
            Some(Side::Left) => 1,
            Some(Side::Right) => 2,
        };
        let seems = state
            .seems
            .map_or(0, |(side, within)| bits(Some(side)) << 2 | if within { 16 } else { 0 });
        bits(state.side) | seems
    }
}

/// A line of a picture of this width.
#[derive(Clone, Copy, Debug)]
pub(super) struct LineShape {
    from: Point,
    to: Point,
    length: f64,
}

impl LineShape {
    pub(super) fn new(line: &Line, width: f64) -> Self {
        let scaled = |[x, y]: Point| [x * width, y];
        let (from, to) = (scaled(line.from), scaled(line.to));
        let (x, y) = (to[0] - from[0], to[1] - from[1]);
        Self { from, to, length: (x * x + y * y).sqrt() }
    }

    /// From the line through both ends, to the right of it.
    fn distance(&self, [x, y]: Point) -> f64 {
        let along = [self.to[0] - self.from[0], self.to[1] - self.from[1]];
        (along[0] * (y - self.from[1]) - along[1] * (x - self.from[0])) / self.length
    }

    /// Where a point is along the line: from 0 to 1 between its ends.
    fn share(&self, [x, y]: Point) -> f64 {
        let along = [self.to[0] - self.from[0], self.to[1] - self.from[1]];
        let dot = along[0] * (x - self.from[0]) + along[1] * (y - self.from[1]);
        dot / self.length / self.length
    }

    /// A track moves from `before` to `to`. It has crossed the line once it is far enough beyond,
    /// if it came there between the line's ends. `margins` are how far it has to be to be on a side
    /// at first, and on the other side.
    pub(super) fn step(
        &self,
        state: &mut LineState,
        before: Option<Point>,
        to: Point,
        margins: [f64; 2],
    ) -> Option<Direction> {
        let distance = self.distance(to);
        let seems = Side::of(distance);
        let within = match (state.seems, before) {
            (Some((side, within)), _) if side == seems => within,
            (Some(_), Some(before)) => {
                let was = self.distance(before);
                let part = if was == distance { 0.0 } else { was / (was - distance) };
                let at = [0, 1].map(|k| before[k] + part.clamp(0.0, 1.0) * (to[k] - before[k]));
                (0.0..=1.0).contains(&self.share(at))
            }
            _ => false,
        };
        state.seems = Some((seems, within));
        let margin = if state.side.is_some() { margins[1] } else { margins[0] };
        if distance.abs() <= margin { None } else { state.settle() }
    }

    /// What it has crossed if nothing follows: where it seems to be is where it is, unless it is
    /// too near to know.
    pub(super) fn end(
        &self,
        mut state: LineState,
        at: Point,
        margins: [f64; 2],
    ) -> Option<Direction> {
        if self.distance(at).abs() <= margins[0] { None } else { state.settle() }
    }
}

impl LineState {
    fn settle(&mut self) -> Option<Direction> {
        let (seems, within) = self.seems?;
        let was = self.side.replace(seems)?;
        (was != seems && within).then_some(match seems {
            Side::Right => Direction::In,
            Side::Left => Direction::Out,
        })
    }
}

/// A point on the lower or right edge of the picture counts as so far within it.
const EDGE: f64 = 1e-9;

/// A zone of a picture of this width.
#[derive(Clone, Debug)]
pub(super) struct ZoneShape {
    corners: Vec<Point>,
    /// Half of this is the largest margin: a zone may be narrow.
    breadth: f64,
    /// Of the picture.
    width: f64,
}

impl ZoneShape {
    pub(super) fn new(zone: &Zone, width: f64) -> Self {
        let corners: Vec<_> = zone.corners.iter().map(|[x, y]| [x * width, *y]).collect();
        let sides = corners.iter().zip(corners.iter().cycle().skip(1));
        let (mut area, mut around) = (0.0, 0.0);
        for ([x1, y1], [x2, y2]) in sides {
            area += (x1 * y2 - x2 * y1) / 2.0;
            around += ((x2 - x1) * (x2 - x1) + (y2 - y1) * (y2 - y1)).sqrt();
        }
        // The radius of a circle, and half the breadth of a long strip.
        Self { corners, breadth: 2.0 * area.abs() / around, width }
    }

    /// Whether a track is in it, that was or was not before.
    pub(super) fn holds(&self, was: Option<bool>, at: Point, margin: f64) -> bool {
        let inside = self.contains(at);
        match was {
            Some(was) if was != inside && self.distance(at) <= margin.min(self.breadth / 2.0) => {
                was
            }
            _ => inside,
        }
    }

    pub(super) fn contains(&self, [x, y]: Point) -> bool {
        // What the edge of the picture cuts off is in a zone that reaches the edge.
        let within = |n: f64, end: f64| n.min(end - EDGE).max(0.0);
        let (x, y) = (within(x, self.width), within(y, 1.0));
        let sides = self.corners.iter().zip(self.corners.iter().cycle().skip(1));
        let crossed = |([x1, y1], [x2, y2]): &(&Point, &Point)| {
            (*y1 > y) != (*y2 > y) && x < (x2 - x1) * (y - y1) / (y2 - y1) + x1
        };
        sides.filter(crossed).count() % 2 == 1
    }

    /// From its border.
    fn distance(&self, [x, y]: Point) -> f64 {
        let sides = self.corners.iter().zip(self.corners.iter().cycle().skip(1));
        let squared = |(&[x1, y1], &[x2, y2]): (&Point, &Point)| {
            let (along_x, along_y) = (x2 - x1, y2 - y1);
            let length = along_x * along_x + along_y * along_y;
            let share = ((x - x1) * along_x + (y - y1) * along_y) / length;
            let share = share.clamp(0.0, 1.0);
            let (to_x, to_y) = (x - x1 - share * along_x, y - y1 - share * along_y);
            to_x * to_x + to_y * to_y
        };
        sides.map(squared).fold(f64::INFINITY, f64::min).sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_edge_of_the_picture_cuts_off_is_in_a_zone_that_reaches_the_edge() {
        let width = 2.0;
        let all = ZoneShape::new(&"all: 0,0 1,0 1,1 0,1".parse().unwrap(), width);
        let inner = ZoneShape::new(&"inner: 0,0 0.9,0 0.9,0.9 0,0.9".parse().unwrap(), width);
        for at in [[width, 0.5], [width / 2.0, 1.0], [width, 1.01], [-0.1, 0.5]] {
            assert_eq!((all.contains(at), inner.contains(at)), (true, at[0] < 0.0), "{at:?}");
        }
        let narrow = ZoneShape::new(&"all: 0,0 1,0 1,1 0,1".parse().unwrap(), 1e-12);
        assert!(narrow.contains([2.0, 2.0]), "of a picture of hardly any width");
    }
}

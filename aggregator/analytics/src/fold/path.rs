//! The way of a track, in few points.

use moliceiro_messages::PathPoint;
use serde::{Deserialize, Serialize};

/// Points kept.
const MOST: usize = 64;

/// Coordinates are kept as multiples of a ten-thousandth.
const UNIT: f64 = 1e4;

/// Least distance of two points at the beginning, in units.
const NEAR: i64 = 100;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Path {
    points: Vec<(u64, i32, i32)>,
    last: Option<(u64, i32, i32)>,
    /// How often the least distance was doubled.
    doubled: u8,
}

impl Path {
    #[expect(clippy::cast_possible_truncation, reason = "`as` saturates")]
    pub(super) fn add(&mut self, frame: u64, [x, y]: [f64; 2]) {
        let point = (frame, (x * UNIT).round() as i32, (y * UNIT).round() as i32);
        self.last = Some(point);
        if self.points.last().is_none_or(|kept| self.are_apart(*kept, point)) {
            self.points.push(point);
        }
        while self.points.len() > MOST {
            self.doubled = self.doubled.saturating_add(1);
            let mut kept: Vec<_> = self.points.first().copied().into_iter().collect();
            for point in &self.points[1..] {
                if kept.last().is_none_or(|last| self.are_apart(*last, *point)) {
                    kept.push(*point);
                }
            }
            self.points = kept;
        }
    }

    fn are_apart(&self, a: (u64, i32, i32), b: (u64, i32, i32)) -> bool {
        let along = |a: i32, b: i32| i128::from(a) - i128::from(b);
        let (x, y) = (along(a.1, b.1), along(a.2, b.2));
        // After 30 times, nothing is far enough.
        let near = i128::from(NEAR) << u32::from(self.doubled.min(30));
        x * x + y * y >= near * near
    }

    pub(super) fn points(&self) -> Vec<PathPoint> {
        let last = self.last.filter(|last| self.points.last() != Some(last));
        let point = |(frame, x, y): (u64, i32, i32)| {
            PathPoint(frame, f64::from(x) / UNIT, f64::from(y) / UNIT)
        };
        self.points.iter().copied().chain(last).map(point).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_keeps_its_ends_and_few_points_between() {
        let mut path = Path::default();
        for n in 0..100_000_u32 {
            path.add(n.into(), [f64::from(n) / 1e3, f64::from(n % 7) / 1e4]);
        }
        let points = path.points();
        assert!((20..=MOST + 1).contains(&points.len()), "{}", points.len());
        assert_eq!(points[0], PathPoint(0, 0.0, 0.0));
        assert_eq!(points.last(), Some(&PathPoint(99_999, 99.999, 0.0004)));
        path.add(100_000, [f64::MAX, f64::NEG_INFINITY]);
    }
}

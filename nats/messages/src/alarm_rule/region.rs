use super::RuleProblem;

pub(super) const MOST_POINTS: usize = 64;
pub(super) const FEWEST_POINTS: usize = 3;

/// A polygon of at least three points, each `x, y` from 0 to 1.
#[derive(Clone, Debug, PartialEq)]
pub struct Region(pub(super) Vec<[f32; 2]>);

impl Region {
    pub(super) fn new(points: Vec<[f32; 2]>) -> Result<Self, RuleProblem> {
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
    pub(super) fn contains(&self, x: f32, y: f32) -> bool {
        let ends = self.0.iter().cycle().skip(1);
        let crossed = |([x1, y1], [x2, y2]): &(&[f32; 2], &[f32; 2])| {
            (*y1 > y) != (*y2 > y) && x < (x2 - x1) * (y - y1) / (y2 - y1) + x1
        };
        self.0.iter().zip(ends).filter(crossed).count() % 2 == 1
    }
}

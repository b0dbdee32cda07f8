use serde::{Deserialize, Serialize};

/// A box: left, top, right, bottom, in heights of the picture. Both sides have a length.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Box4(pub(crate) [f64; 4]);

/// No side is shorter, in heights of the picture.
const SHORTEST: f64 = 1e-6;

impl Box4 {
    /// `None` if it is not a box.
    pub(crate) fn new([left, top, right, bottom]: [f64; 4]) -> Option<Self> {
        let whole = [left, top, right, bottom].iter().all(|side| side.is_finite());
        (whole && right - left >= SHORTEST && bottom - top >= SHORTEST)
            .then_some(Self([left, top, right, bottom]))
    }

    pub(crate) fn around(x: f64, y: f64, width: f64, height: f64) -> Self {
        let (half_width, half_height) = (width.max(SHORTEST) / 2.0, height.max(SHORTEST) / 2.0);
        Self([x - half_width, y - half_height, x + half_width, y + half_height])
    }

    pub(crate) fn width(self) -> f64 {
        self.0[2] - self.0[0]
    }

    pub(crate) fn height(self) -> f64 {
        self.0[3] - self.0[1]
    }

    pub(crate) fn centre(self) -> [f64; 2] {
        [(self.0[0] + self.0[2]) / 2.0, (self.0[1] + self.0[3]) / 2.0]
    }

    /// The side of a square of the same area.
    pub(crate) fn size(self) -> f64 {
        (self.width() * self.height()).sqrt()
    }

    /// The part of the area of both that they share.
    pub(crate) fn iou(self, other: Self) -> f64 {
        let along = |k: usize| (self.0[k + 2].min(other.0[k + 2])) - (self.0[k].max(other.0[k]));
        let (width, height) = (along(0), along(1));
        if width <= 0.0 || height <= 0.0 {
            return 0.0;
        }
        let shared = width * height;
        shared / (self.width() * self.height() + other.width() * other.height() - shared)
    }
}

/// A box, in pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounds {
    /// Left edge.
    pub left: f64,
    /// Top edge.
    pub top: f64,
    /// Right edge.
    pub right: f64,
    /// Bottom edge.
    pub bottom: f64,
}

impl Bounds {
    /// A box from its upper left corner and its lengths.
    pub fn from_corner(left: f64, top: f64, width: f64, height: f64) -> Self {
        Self { left, top, right: left + width, bottom: top + height }
    }

    fn area(&self) -> f64 {
        (self.right - self.left) * (self.bottom - self.top)
    }

    /// The area that both share.
    fn shared(&self, other: &Self) -> f64 {
        let width = self.right.min(other.right) - self.left.max(other.left);
        let height = self.bottom.min(other.bottom) - self.top.max(other.top);
        width.max(0.0) * height.max(0.0)
    }

    /// Intersection over union: 0 if the boxes do not overlap or one has no area.
    pub fn iou(&self, other: &Self) -> f64 {
        let (a, b) = (self.area(), other.area());
        let shared = self.shared(other);
        let union = a + b - shared;
        if a > f64::EPSILON && b > f64::EPSILON && union > f64::EPSILON {
            shared / union
        } else {
            0.0
        }
    }

    /// The share of this box that another one covers.
    pub fn covered_by(&self, other: &Self) -> f64 {
        let area = self.area();
        if area > f64::EPSILON { self.shared(other) / area } else { 0.0 }
    }
}

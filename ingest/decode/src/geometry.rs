use gstreamer_video::VideoOrientationMethod;
use moliceiro_messages::{Fit, Letterbox, Size};

/// How to turn a stored picture upright: the upright pixel (x, y) is the stored one at (x, y),
/// swapped if `transpose`, and then counted from the other side where mirrored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Orientation {
    transpose: bool,
    mirror_columns: bool,
    mirror_rows: bool,
}

impl Orientation {
    pub(crate) fn from_method(method: VideoOrientationMethod) -> Self {
        let (transpose, mirror_columns, mirror_rows) = match method {
            VideoOrientationMethod::_90r => (true, false, true),
            VideoOrientationMethod::_180 => (false, true, true),
            VideoOrientationMethod::_90l => (true, true, false),
            VideoOrientationMethod::Horiz => (false, true, false),
            VideoOrientationMethod::Vert => (false, false, true),
            VideoOrientationMethod::UlLr => (true, false, false),
            VideoOrientationMethod::UrLl => (true, true, true),
            _ => (false, false, false),
        };
        Self { transpose, mirror_columns, mirror_rows }
    }

    /// This turn, and then another one.
    pub(crate) fn then(self, next: Self) -> Self {
        // Mirroring after a transposition is mirroring of the other side before it.
        let (columns, rows) = match self.transpose {
            true => (next.mirror_rows, next.mirror_columns),
            false => (next.mirror_columns, next.mirror_rows),
        };
        Self {
            transpose: self.transpose != next.transpose,
            mirror_columns: self.mirror_columns != columns,
            mirror_rows: self.mirror_rows != rows,
        }
    }

    /// Of a picture that is shown flipped, and then turned anticlockwise, in 65536ths of a full
    /// turn. Only quarter turns are possible: the nearest is taken.
    pub(crate) fn flipped_then_rotated(
        horizontally: bool,
        vertically: bool,
        anticlockwise: u32,
    ) -> Self {
        let quarter_turns = (anticlockwise + (1 << 13)) >> 14 & 3;
        let turned = Self::from_method(match quarter_turns {
            1 => VideoOrientationMethod::_90l,
            2 => VideoOrientationMethod::_180,
            3 => VideoOrientationMethod::_90r,
            _ => VideoOrientationMethod::Identity,
        });
        Self {
            mirror_columns: turned.mirror_columns != horizontally,
            mirror_rows: turned.mirror_rows != vertically,
            ..turned
        }
    }

    /// Converts the size of a stored picture to that of the upright one, or back.
    pub(crate) fn turn(self, size: Size) -> Size {
        if self.transpose { Size { width: size.height, height: size.width } } else { size }
    }

    pub(crate) fn is_upright(self) -> bool {
        self == Self::default()
    }

    /// Where in a stored plane of `width` × `height` the upright pixel (x, y) lies.
    pub(crate) fn stored(self, x: usize, y: usize, width: usize, height: usize) -> (usize, usize) {
        let (x, y) = if self.transpose { (y, x) } else { (x, y) };
        (
            if self.mirror_columns { width - 1 - x } else { x },
            if self.mirror_rows { height - 1 - y } else { y },
        )
    }
}

/// Where a stored frame, turned upright, lies in its picture, and the size of the picture. `size` is
/// what `fit` starts from.
pub(crate) fn place(
    stored: Size,
    pixel_aspect: (u32, u32),
    orientation: Orientation,
    size: Size,
    fit: Fit,
) -> (Letterbox, Size) {
    let shape = display_size(stored, pixel_aspect, orientation);
    fit.place(orientation.turn(stored), shape, size)
}

/// Width and height of the upright frame as it is shown, in any unit.
fn display_size(stored: Size, pixel_aspect: (u32, u32), orientation: Orientation) -> (f64, f64) {
    let (horizontal, vertical) = match pixel_aspect {
        (0, _) | (_, 0) => (1, 1),
        other => other,
    };
    let width = f64::from(stored.width.max(1)) * f64::from(horizontal);
    let height = f64::from(stored.height.max(1)) * f64::from(vertical);
    if orientation.transpose { (height, width) } else { (width, height) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PICTURE: Size = Size { width: 416, height: 416 };

    fn size(width: u32, height: u32) -> Size {
        Size { width, height }
    }

    fn placed(stored: Size, fit: Fit) -> (Letterbox, Size) {
        place(stored, (1, 1), Orientation::default(), PICTURE, fit)
    }

    #[test]
    fn a_wide_frame_lies_between_black_rows() {
        let expected =
            Letterbox { source: size(640, 272), left: 0, top: 119, content: size(416, 177) };
        assert_eq!(placed(size(640, 272), Fit::Letterbox), (expected, PICTURE));
    }

    #[test]
    fn pixel_aspect_applies_before_turning() {
        let turned = Orientation::from_method(VideoOrientationMethod::_90r);
        let expected =
            Letterbox { source: size(576, 720), left: 91, top: 0, content: size(234, 416) };
        let (letterbox, _) = place(size(720, 576), (64, 45), turned, PICTURE, Fit::Letterbox);
        assert_eq!(letterbox, expected);
    }

    #[test]
    fn the_frame_lies_inside_the_picture_for_any_size_and_aspect() {
        let fits = Fit::NAMES.map(|name| name.parse::<Fit>().unwrap());
        for stored in [size(1, 1), size(1, 65_535), size(65_535, 1), size(3, 5), size(u32::MAX, 1)]
        {
            for aspect in [(1, 1), (0, 1), (1, 0), (u32::MAX, 1), (1, u32::MAX)] {
                for (most, fit) in [size(1, 1), size(17, 31), size(33, 35), PICTURE]
                    .into_iter()
                    .flat_map(|most| fits.map(|fit| (most, fit)))
                {
                    let (letterbox, picture) =
                        place(stored, aspect, Orientation::default(), most, fit);
                    assert!(letterbox.fits(picture), "{letterbox:?} {picture:?}");
                    let pixels = |size: Size| f64::from(size.width * size.height);
                    assert!(pixels(picture) <= pixels(most) * Fit::MOST_PIXELS);
                }
            }
        }
    }

    #[test]
    fn turns_follow_each_other() {
        use VideoOrientationMethod::{_90l, _90r, _180, Horiz, Identity, UlLr, UrLl, Vert};
        let all = [Identity, _90r, _180, _90l, Horiz, Vert, UlLr, UrLl];
        for (first, second) in all.iter().flat_map(|a| all.iter().map(move |b| (*a, *b))) {
            let (a, b) = (Orientation::from_method(first), Orientation::from_method(second));
            let between = a.turn(size(3, 2));
            let upright = b.turn(between);
            for (x, y) in (0..upright.height as usize)
                .flat_map(|y| (0..upright.width as usize).map(move |x| (x, y)))
            {
                let (bx, by) = b.stored(x, y, between.width as usize, between.height as usize);
                assert_eq!(
                    a.then(b).stored(x, y, 3, 2),
                    a.stored(bx, by, 3, 2),
                    "{first:?}, {second:?}"
                );
            }
        }
    }

    #[test]
    fn each_orientation_maps_pixels_one_to_one() {
        use VideoOrientationMethod::{_90l, _90r, _180, Horiz, Identity, UlLr, UrLl, Vert};
        for method in [Identity, _90r, _180, _90l, Horiz, Vert, UlLr, UrLl] {
            let orientation = Orientation::from_method(method);
            let upright = orientation.turn(size(3, 2));
            let mut seen = std::collections::BTreeSet::new();
            for y in 0..upright.height as usize {
                for x in 0..upright.width as usize {
                    seen.insert(orientation.stored(x, y, 3, 2));
                }
            }
            assert_eq!(seen.len(), 6, "{method:?}");
            assert!(seen.iter().all(|(x, y)| *x < 3 && *y < 2), "{method:?}");
        }
    }
}

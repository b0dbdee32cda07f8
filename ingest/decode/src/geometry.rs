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
    let display = display_size(stored, pixel_aspect, orientation);
    let picture = match fit {
        Fit::Letterbox | Fit::UpperLeft | Fit::Stretch => size,
        Fit::Area => rectangle(display, size),
        Fit::Within => within(display, size),
    };
    let content = match fit {
        Fit::Letterbox => largest(display, size, f64::round_ties_even),
        // YOLOX truncates.
        Fit::UpperLeft => largest(display, size, f64::floor),
        _ => picture,
    };
    let (left, top) = match fit {
        Fit::UpperLeft => (0, 0),
        _ => ((picture.width - content.width) / 2, (picture.height - content.height) / 2),
    };
    let letterbox = Letterbox { source: orientation.turn(stored), left, top, content };
    (letterbox, picture)
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

/// The largest size of this shape in a picture.
fn largest((width, height): (f64, f64), picture: Size, round: fn(f64) -> f64) -> Size {
    let scale = (f64::from(picture.width) / width).min(f64::from(picture.height) / height);
    let side = |length: f64, limit: u32| to_pixels(round(length * scale), limit);
    Size { width: side(width, picture.width), height: side(height, picture.height) }
}

/// The smallest rectangle with sides of whole steps that holds the largest size of this shape. The
/// picture's own sides limit it.
fn within(shape: (f64, f64), picture: Size) -> Size {
    let side = |content: u32, limit: u32| content.next_multiple_of(Fit::STEP).min(limit);
    let content = largest(shape, picture, f64::round_ties_even);
    Size { width: side(content.width, picture.width), height: side(content.height, picture.height) }
}

/// A rectangle of this shape with sides of whole steps and about as many pixels as the picture. Of
/// those next to the exact one, it is the one that differs least in shape and number of pixels.
fn rectangle((width, height): (f64, f64), picture: Size) -> Size {
    const STEP: f64 = Fit::STEP as f64;
    let pixels = f64::from(picture.width) * f64::from(picture.height);
    let most = (pixels * Fit::MOST_PIXELS / (STEP * STEP)).floor();
    // No side is longer than allowed, and none shorter than a step.
    let longest = f64::from(Size::MAX_SIDE);
    let extreme = (longest * longest / pixels).min(most).max(1.0);
    let shape = (width / height).clamp(1.0 / extreme, extreme);
    let exact = [(pixels * shape).sqrt() / STEP, (pixels / shape).sqrt() / STEP];
    let [columns, rows] = exact.map(|steps| [steps.floor().max(1.0), steps.ceil()]);
    let difference = |&(columns, rows): &(f64, f64)| {
        let (shown, area) = (columns / rows / shape, columns * rows * STEP * STEP / pixels);
        shown.ln().abs() + area.ln().abs()
    };
    columns
        .into_iter()
        .flat_map(|columns| rows.map(|rows| (columns, rows)))
        .filter(|(columns, rows)| columns * rows <= most)
        .min_by(|a, b| difference(a).total_cmp(&difference(b)))
        // A picture smaller than a step has no such rectangle.
        .map_or(picture, |(columns, rows)| Size {
            width: to_pixels(columns * STEP, u32::MAX),
            height: to_pixels(rows * STEP, u32::MAX),
        })
}

#[expect(clippy::cast_possible_truncation, reason = "`as` saturates, and `clamp` limits it")]
fn to_pixels(length: f64, limit: u32) -> u32 {
    (length as u32).clamp(1, limit)
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
    fn a_rectangle_has_the_shape_of_the_frame_and_as_many_pixels_as_the_square() {
        for (stored, area, within) in [
            (size(640, 272), size(608, 256), size(416, 192)),
            (size(1920, 1080), size(544, 320), size(416, 256)),
            (size(640, 480), size(480, 352), size(416, 320)),
            (size(480, 640), size(352, 480), size(320, 416)),
            (size(300, 300), size(416, 416), size(416, 416)),
            (size(1, 65_535), size(64, 2048), size(32, 416)),
        ] {
            for (fit, expected) in
                [(Fit::Area, area), (Fit::Within, within), (Fit::Stretch, PICTURE)]
            {
                let (letterbox, picture) = placed(stored, fit);
                assert_eq!(picture, expected, "{stored:?} {fit:?}");
                let whole = Letterbox { source: stored, left: 0, top: 0, content: expected };
                assert_eq!(letterbox, whole, "no border");
            }
        }
    }

    #[test]
    fn a_rectangle_differs_little_in_shape_and_number_of_pixels() {
        for (width, height) in (100..1000).step_by(7).flat_map(|w| [(w, 400), (400, w)]) {
            let (_, picture) = placed(size(width, height), Fit::Area);
            let shape = |size: Size| f64::from(size.width) / f64::from(size.height);
            let change = (shape(picture) / shape(size(width, height))).ln().abs();
            let pixels = f64::from(picture.width * picture.height) / f64::from(416 * 416);
            assert!(
                change < 0.16 && (0.89..=1.02).contains(&pixels),
                "{width}×{height}: {picture:?}"
            );
        }
    }

    #[test]
    fn the_frame_lies_inside_the_picture_for_any_size_and_aspect() {
        let fits = [Fit::Letterbox, Fit::UpperLeft, Fit::Stretch, Fit::Area, Fit::Within];
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

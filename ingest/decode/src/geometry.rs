use gstreamer_video::VideoOrientationMethod;
use moliceiro_messages::{Letterbox, Size};

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

/// Where a stored frame, turned upright, lies in a picture of size `picture`: centred, and as large
/// as fits with its display aspect ratio.
pub(crate) fn letterbox(
    stored: Size,
    pixel_aspect: (u32, u32),
    orientation: Orientation,
    picture: Size,
) -> Letterbox {
    let (horizontal, vertical) = match pixel_aspect {
        (0, _) | (_, 0) => (1, 1),
        other => other,
    };
    let display = (
        f64::from(stored.width) * f64::from(horizontal),
        f64::from(stored.height) * f64::from(vertical),
    );
    let (width, height) = if orientation.transpose { (display.1, display.0) } else { display };
    let scale = (f64::from(picture.width) / width).min(f64::from(picture.height) / height);
    #[expect(clippy::cast_possible_truncation, reason = "`as` saturates, and `clamp` limits it")]
    let fit = |length: f64, limit: u32| ((length * scale).round_ties_even() as u32).clamp(1, limit);
    let content = Size { width: fit(width, picture.width), height: fit(height, picture.height) };
    let centre = |whole: u32, part: u32| (whole - part) / 2;
    Letterbox {
        source: orientation.turn(stored),
        left: centre(picture.width, content.width),
        top: centre(picture.height, content.height),
        content,
    }
}

/// The part of a picture that its frame needs, and where the frame lies in it. Sides are multiples
/// of `step`, unless the picture itself is smaller. The result depends on the frame alone, so
/// decoding the frame again has the same result.
pub(crate) fn trim(letterbox: Letterbox, picture: Size, step: u32) -> (Letterbox, Size) {
    let side = |content: u32, limit: u32| content.next_multiple_of(step).min(limit);
    let content = letterbox.content;
    let trimmed = Size {
        width: side(content.width, picture.width),
        height: side(content.height, picture.height),
    };
    let (left, top) = ((trimmed.width - content.width) / 2, (trimmed.height - content.height) / 2);
    (Letterbox { left, top, ..letterbox }, trimmed)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PICTURE: Size = Size { width: 416, height: 416 };

    fn size(width: u32, height: u32) -> Size {
        Size { width, height }
    }

    #[test]
    fn a_wide_frame_lies_between_black_rows() {
        let expected =
            Letterbox { source: size(640, 272), left: 0, top: 119, content: size(416, 177) };
        assert_eq!(letterbox(size(640, 272), (1, 1), Orientation::default(), PICTURE), expected);
    }

    #[test]
    fn pixel_aspect_applies_before_turning() {
        let turned = Orientation::from_method(VideoOrientationMethod::_90r);
        let expected =
            Letterbox { source: size(576, 720), left: 91, top: 0, content: size(234, 416) };
        assert_eq!(letterbox(size(720, 576), (64, 45), turned, PICTURE), expected);
    }

    #[test]
    fn the_frame_lies_inside_the_picture_for_any_size_and_aspect() {
        for stored in [size(1, 1), size(1, 65_535), size(65_535, 1), size(3, 5), size(u32::MAX, 1)]
        {
            for aspect in [(1, 1), (0, 1), (1, 0), (u32::MAX, 1), (1, u32::MAX)] {
                for picture in [size(1, 1), size(17, 31), PICTURE] {
                    let Letterbox { left, top, content, .. } =
                        letterbox(stored, aspect, Orientation::default(), picture);
                    assert!(content.width >= 1 && left + content.width <= picture.width);
                    assert!(content.height >= 1 && top + content.height <= picture.height);
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

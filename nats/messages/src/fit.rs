use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{Letterbox, Size};

/// How a frame is fitted into the picture that a model analyses, whose size is given.
///
/// The result depends on the frame's own size alone, so decoding the frame again gives the same
/// picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Fit {
    /// As large as it fits with its shape, in the middle of a black picture.
    Letterbox,
    /// The same in the middle of the smallest picture with sides that are multiples of
    /// [`Fit::STEP`] that holds it, as Ultralytics feeds models of open size.
    #[serde(rename = "letterbox-within")]
    LetterboxWithin,
    /// As large as it fits with its shape, in the upper left corner of a black picture, as YOLOX is
    /// trained.
    #[serde(rename = "upper-left")]
    UpperLeft,
    /// Stretched to the size of the picture.
    Stretch,
    /// The picture is a rectangle of the frame's shape with about as many pixels as the given size:
    /// at most [`Fit::MOST_PIXELS`] times as many. Its sides are multiples of [`Fit::STEP`], and the
    /// frame is stretched to them, by a few per cent.
    Area,
    /// The picture is a rectangle of the frame's shape within the given size, otherwise as with
    /// `Area`. It has fewer pixels, so it is analysed faster.
    Within,
}

/// Text that is not a [`Fit`].
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("must be {}", Fit::NAMES.join(", "))]
pub struct InvalidFit;

impl Fit {
    /// How each is written.
    pub const NAMES: [&str; 6] =
        ["letterbox", "letterbox-within", "upper-left", "stretch", "area", "within"];

    /// Rectangles of a frame's shape have sides that are multiples of this, which suits models with
    /// strides of up to 32.
    pub const STEP: u32 = 32;

    /// How many times the pixels of the given size a picture has at most.
    pub const MOST_PIXELS: f64 = 1.02;

    /// Whether the picture's size depends on the frame's shape.
    pub fn varies(self) -> bool {
        matches!(self, Self::LetterboxWithin | Self::Area | Self::Within)
    }

    /// What comes closest for a model that takes pictures of one size only.
    pub fn in_one_size(self) -> Self {
        match self {
            Self::LetterboxWithin => Self::Letterbox,
            Self::Area | Self::Within => Self::Stretch,
            fit => fit,
        }
    }

    /// Where a frame of the size `source` lies in its picture, and the size of the picture, which is
    /// `size` or what the fit makes of it. `shape` is the width and height that the frame is shown
    /// with, in any unit.
    pub fn place(self, source: Size, shape: (f64, f64), size: Size) -> (Letterbox, Size) {
        let picture = match self {
            Self::Letterbox | Self::UpperLeft | Self::Stretch => size,
            Self::Area => rectangle(shape, size),
            Self::Within | Self::LetterboxWithin => within(shape, size),
        };
        let content = match self {
            Self::Letterbox | Self::LetterboxWithin => largest(shape, size, f64::round_ties_even),
            // YOLOX truncates.
            Self::UpperLeft => largest(shape, size, f64::floor),
            Self::Stretch | Self::Area | Self::Within => picture,
        };
        let (left, top) = match self {
            Self::UpperLeft => (0, 0),
            _ => ((picture.width - content.width) / 2, (picture.height - content.height) / 2),
        };
        (Letterbox { source, left, top, content }, picture)
    }
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

impl From<Fit> for &str {
    fn from(fit: Fit) -> Self {
        match fit {
            Fit::Letterbox => "letterbox",
            Fit::LetterboxWithin => "letterbox-within",
            Fit::UpperLeft => "upper-left",
            Fit::Stretch => "stretch",
            Fit::Area => "area",
            Fit::Within => "within",
        }
    }
}

impl FromStr for Fit {
    type Err = InvalidFit;

    fn from_str(text: &str) -> Result<Self, InvalidFit> {
        match text {
            "letterbox" => Ok(Self::Letterbox),
            "letterbox-within" => Ok(Self::LetterboxWithin),
            "upper-left" => Ok(Self::UpperLeft),
            "stretch" => Ok(Self::Stretch),
            "area" => Ok(Self::Area),
            "within" => Ok(Self::Within),
            _ => Err(InvalidFit),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PICTURE: Size = Size { width: 416, height: 416 };

    fn size(width: u32, height: u32) -> Size {
        Size { width, height }
    }

    fn placed(frame: Size, fit: Fit) -> (Letterbox, Size) {
        fit.place(frame, (frame.width.into(), frame.height.into()), PICTURE)
    }

    #[test]
    fn a_letterboxed_frame_is_centred_and_another_lies_at_the_upper_left() {
        let source = size(640, 272);
        let expected = Letterbox { source, left: 0, top: 119, content: size(416, 177) };
        assert_eq!(placed(source, Fit::Letterbox), (expected, PICTURE));
        let expected = Letterbox { source, left: 0, top: 0, content: size(416, 176) };
        assert_eq!(placed(source, Fit::UpperLeft), (expected, PICTURE));
        let expected = Letterbox { source, left: 0, top: 7, content: size(416, 177) };
        assert_eq!(placed(source, Fit::LetterboxWithin), (expected, size(416, 192)));
        let (letterbox, picture) = placed(size(300, 300), Fit::LetterboxWithin);
        assert_eq!((letterbox.content, picture), (PICTURE, PICTURE), "no border");
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
}

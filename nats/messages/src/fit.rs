use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// How a frame is fitted into the picture that a model analyses, whose size is given.
///
/// The result depends on the frame's own size alone, so decoding the frame again gives the same
/// picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Fit {
    /// As large as it fits with its shape, in the middle of a black picture.
    Letterbox,
    /// The same in the upper left corner of the picture, as YOLOX is trained.
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
    pub const NAMES: [&str; 5] = ["letterbox", "upper-left", "stretch", "area", "within"];

    /// Rectangles of a frame's shape have sides that are multiples of this, which suits models with
    /// strides of up to 32.
    pub const STEP: u32 = 32;

    /// How many times the pixels of the given size a picture has at most.
    pub const MOST_PIXELS: f64 = 1.02;

    /// Whether the picture's size depends on the frame's shape.
    pub fn varies(self) -> bool {
        matches!(self, Self::Area | Self::Within)
    }
}

impl From<Fit> for &str {
    fn from(fit: Fit) -> Self {
        match fit {
            Fit::Letterbox => "letterbox",
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
            "upper-left" => Ok(Self::UpperLeft),
            "stretch" => Ok(Self::Stretch),
            "area" => Ok(Self::Area),
            "within" => Ok(Self::Within),
            _ => Err(InvalidFit),
        }
    }
}

use moliceiro_messages::{Letterbox, Size};
use serde::{Deserialize, Serialize};

/// How a frame is fitted into the picture that a model takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fit {
    /// Scaled with its own shape, in the middle of a picture of the model's size.
    Letterbox,
    /// The same in the picture's upper left corner.
    UpperLeft,
    /// Stretched to the model's size.
    Stretch,
    /// Stretched to a picture of about the frame's shape and about the area of the model's size.
    Area,
}

impl Fit {
    /// The name in a manifest.
    pub fn name(self) -> &'static str {
        match self {
            Self::Letterbox => "letterbox",
            Self::UpperLeft => "upper-left",
            Self::Stretch => "stretch",
            Self::Area => "area",
        }
    }

    /// The size of the picture for frames of this size. `size` is the model's, and both sides are
    /// multiples of `multiple_of`; without it, the model takes one size only.
    pub fn picture_size(
        self,
        frame: Size,
        size: Size,
        multiple_of: Option<u32>,
        most: u32,
    ) -> Size {
        let (Self::Area, Some(step @ 1..)) = (self, multiple_of) else { return size };
        if frame.width == 0 || frame.height == 0 {
            return size;
        }
        let area = f64::from(size.width) * f64::from(size.height);
        let shape = f64::from(frame.width) / f64::from(frame.height);
        let most = (most / step).max(1);
        let side = |length: f64| {
            #[expect(clippy::cast_possible_truncation, reason = "`as` saturates")]
            #[expect(clippy::cast_sign_loss, reason = "it is a length")]
            let steps = (length / f64::from(step)).round() as u32;
            steps.clamp(1, most) * step
        };
        Size { width: side((area * shape).sqrt()), height: side((area / shape).sqrt()) }
    }

    /// Where in a picture of this size the frame lies.
    pub fn place(self, frame: Size, picture: Size) -> Letterbox {
        let whole = Letterbox { source: frame, left: 0, top: 0, content: picture };
        if frame.width == 0 || frame.height == 0 || matches!(self, Self::Stretch | Self::Area) {
            return whole;
        }
        let scale = (f64::from(picture.width) / f64::from(frame.width))
            .min(f64::from(picture.height) / f64::from(frame.height));
        let side = |length: u32, most: u32| {
            let scaled = f64::from(length) * scale;
            // YOLOX truncates, and others round.
            let scaled = if self == Self::UpperLeft { scaled.floor() } else { scaled.round() };
            #[expect(clippy::cast_possible_truncation, reason = "`as` saturates")]
            #[expect(clippy::cast_sign_loss, reason = "it is a length")]
            let scaled = scaled as u32;
            scaled.clamp(1, most)
        };
        let content = Size {
            width: side(frame.width, picture.width),
            height: side(frame.height, picture.height),
        };
        let (left, top) = match self {
            Self::UpperLeft => (0, 0),
            _ => ((picture.width - content.width) / 2, (picture.height - content.height) / 2),
        };
        Letterbox { left, top, content, ..whole }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn size(width: u32, height: u32) -> Size {
        Size { width, height }
    }

    #[test]
    fn a_picture_of_the_frames_shape_has_the_area_of_the_models_size() {
        let area = |frame, step| Fit::Area.picture_size(frame, size(416, 416), step, 2048);
        assert_eq!(area(size(1920, 1080), Some(32)), size(544, 320));
        assert_eq!(area(size(640, 480), Some(32)), size(480, 352));
        assert_eq!(area(size(1080, 1920), Some(32)), size(320, 544));
        assert_eq!(area(size(640, 480), None), size(416, 416));
        assert_eq!(area(size(1, 1_000_000), Some(32)), size(32, 2048));
        let letterbox = Fit::Letterbox.picture_size(size(9, 1), size(416, 416), Some(32), 2048);
        assert_eq!(letterbox, size(416, 416));
    }

    #[test]
    fn a_frame_is_placed_as_its_toolkit_places_it() {
        let place = |fit: Fit| {
            let Letterbox { left, top, content, .. } = fit.place(size(640, 272), size(416, 416));
            (left, top, content)
        };
        assert_eq!(place(Fit::Letterbox), (0, 119, size(416, 177)));
        assert_eq!(place(Fit::UpperLeft), (0, 0, size(416, 176)));
        assert_eq!(place(Fit::Stretch), (0, 0, size(416, 416)));
        assert_eq!(Fit::Letterbox.place(size(1, 5000), size(32, 32)).content, size(1, 32));
    }
}

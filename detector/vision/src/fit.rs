//! How images are fitted into pictures here, where ingest does not do it.

use moliceiro_messages::{Fit, Letterbox, Size};

/// The size of the picture for frames of this size. `size` is the model's, and both sides are
/// multiples of `multiple_of`; without it, the model takes one size only.
pub(crate) fn picture_size(fit: Fit, frame: Size, size: Size, multiple_of: Option<u32>) -> Size {
    let (Fit::Area | Fit::Within, Some(_)) = (fit, multiple_of) else { return size };
    let step = Fit::STEP;
    if frame.width == 0 || frame.height == 0 {
        return size;
    }
    if fit == Fit::Within {
        let Letterbox { content, .. } = place(Fit::Letterbox, frame, size);
        let side = |content: u32, limit: u32| content.next_multiple_of(step).min(limit);
        let (width, height) = (side(content.width, size.width), side(content.height, size.height));
        return Size { width, height };
    }
    let area = f64::from(size.width) * f64::from(size.height);
    let shape = f64::from(frame.width) / f64::from(frame.height);
    let most = Size::MAX_SIDE / step;
    let side = |length: f64| {
        #[expect(clippy::cast_possible_truncation, reason = "`as` saturates")]
        #[expect(clippy::cast_sign_loss, reason = "it is a length")]
        let steps = (length / f64::from(step)).round() as u32;
        steps.clamp(1, most) * step
    };
    Size { width: side((area * shape).sqrt()), height: side((area / shape).sqrt()) }
}

/// Where in a picture of this size the frame lies.
pub(crate) fn place(fit: Fit, frame: Size, picture: Size) -> Letterbox {
    let whole = Letterbox { source: frame, left: 0, top: 0, content: picture };
    if frame.width == 0 || frame.height == 0 || !matches!(fit, Fit::Letterbox | Fit::UpperLeft) {
        return whole;
    }
    let scale = (f64::from(picture.width) / f64::from(frame.width))
        .min(f64::from(picture.height) / f64::from(frame.height));
    let side = |length: u32, most: u32| {
        let scaled = f64::from(length) * scale;
        // YOLOX truncates, and others round.
        let scaled = if fit == Fit::UpperLeft { scaled.floor() } else { scaled.round() };
        #[expect(clippy::cast_possible_truncation, reason = "`as` saturates")]
        #[expect(clippy::cast_sign_loss, reason = "it is a length")]
        let scaled = scaled as u32;
        scaled.clamp(1, most)
    };
    let content = Size {
        width: side(frame.width, picture.width),
        height: side(frame.height, picture.height),
    };
    let (left, top) = match fit {
        Fit::UpperLeft => (0, 0),
        _ => ((picture.width - content.width) / 2, (picture.height - content.height) / 2),
    };
    Letterbox { left, top, content, ..whole }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn size(width: u32, height: u32) -> Size {
        Size { width, height }
    }

    #[test]
    fn a_picture_of_the_frames_shape_has_the_area_of_the_models_size() {
        let area = |frame, step| picture_size(Fit::Area, frame, size(416, 416), step);
        assert_eq!(area(size(1920, 1080), Some(32)), size(544, 320));
        assert_eq!(area(size(640, 480), Some(32)), size(480, 352));
        assert_eq!(area(size(1080, 1920), Some(32)), size(320, 544));
        assert_eq!(area(size(640, 480), None), size(416, 416));
        assert_eq!(area(size(1, 1_000_000), Some(32)), size(32, 2048));
        let letterbox = picture_size(Fit::Letterbox, size(9, 1), size(416, 416), Some(32));
        assert_eq!(letterbox, size(416, 416));
        let within = picture_size(Fit::Within, size(640, 272), size(416, 416), Some(32));
        assert_eq!(within, size(416, 192));
    }

    #[test]
    fn a_frame_is_placed_as_its_toolkit_places_it() {
        let place = |fit: Fit| {
            let Letterbox { left, top, content, .. } =
                super::place(fit, size(640, 272), size(416, 416));
            (left, top, content)
        };
        assert_eq!(place(Fit::Letterbox), (0, 119, size(416, 177)));
        assert_eq!(place(Fit::UpperLeft), (0, 0, size(416, 176)));
        assert_eq!(place(Fit::Stretch), (0, 0, size(416, 416)));
        assert_eq!(super::place(Fit::Letterbox, size(1, 5000), size(32, 32)).content, size(1, 32));
    }
}

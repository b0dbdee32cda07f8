//! How images are fitted into pictures here, where ingest does not do it.

use moliceiro_messages::{Fit, Letterbox, Size};

/// The size of the picture for frames of this size. `size` is the model's; without `multiple_of`, the
/// model takes no other.
pub(crate) fn picture_size(fit: Fit, frame: Size, size: Size, multiple_of: Option<u32>) -> Size {
    if multiple_of.is_some() { fit.place(frame, shape(frame), size).1 } else { size }
}

/// Where in a picture of this size the frame lies.
pub(crate) fn place(fit: Fit, frame: Size, picture: Size) -> Letterbox {
    // The picture has the frame's shape already.
    let fit = if fit.varies() { Fit::Stretch } else { fit };
    fit.place(frame, shape(frame), picture).0
}

fn shape(frame: Size) -> (f64, f64) {
    (frame.width.max(1).into(), frame.height.max(1).into())
}

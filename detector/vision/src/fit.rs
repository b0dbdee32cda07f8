//! How images are fitted into pictures here, where ingest does not do it.

use moliceiro_messages::{Fit, Letterbox, Size};

/// Where a frame of this size lies in its picture, and the size of the picture. `size` is the
/// model's; without `multiple_of`, the model takes no other.
pub(crate) fn place(
    fit: Fit,
    frame: Size,
    size: Size,
    multiple_of: Option<u32>,
) -> (Letterbox, Size) {
    let fit = if multiple_of.is_some() { fit } else { fit.in_one_size() };
    let shape = (frame.width.max(1).into(), frame.height.max(1).into());
    fit.place(frame, shape, size)
}

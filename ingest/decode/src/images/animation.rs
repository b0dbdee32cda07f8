use super::canvas::Canvas;
use super::{Context, Frames, Image};
use crate::error::DecodeError;

/// Browsers show a frame for this long if its file says a hundredth of a second or less. In
/// nanoseconds.
const DEFAULT_LENGTH: u64 = 100_000_000;
const MIN_LENGTH: u64 = 10_000_000;
/// Pixels of the canvas, times frames: an hour and a half of 1920 × 1080. A file of a few kilobytes
/// may claim any number.
const MAX_PIXELS: u64 = 1 << 38;

/// The frames of an animated file, each drawn to the canvas when it is asked for.
pub(super) trait Animated {
    /// Draws the next frame, and returns its display time in nanoseconds; `None` at the end.
    fn draw(&mut self, canvas: &mut Canvas, context: &Context) -> Result<Option<u64>, DecodeError>;

    /// Whether the frame that was drawn first is the only one.
    fn is_still(&mut self) -> bool;
}

/// The frames of `animated`. `pixels` is the number of the canvas's pixels.
pub(super) fn frames(
    mut animated: impl Animated + 'static,
    mut canvas: Canvas,
    pixels: u64,
    context: Context,
) -> Frames {
    let (mut pts, mut drawn, mut is_over) = (0u64, 0u64, false);
    Box::new(std::iter::from_fn(move || {
        if is_over {
            return None;
        }
        if drawn.saturating_mul(pixels) > MAX_PIXELS {
            is_over = true;
            return Some(Err(context.damaged(format!(
                "it has more than {drawn} frames of {pixels} pixels, which exceeds the limit"
            ))));
        }
        let length = match animated.draw(&mut canvas, &context) {
            Ok(Some(length)) => length,
            Ok(None) => {
                is_over = true;
                return None;
            }
            Err(error) => {
                is_over = true;
                return Some(Err(error));
            }
        };
        drawn += 1;
        let frame = if drawn == 1 && animated.is_still() {
            canvas.frame(None, None)
        } else {
            let length = if length <= MIN_LENGTH { DEFAULT_LENGTH } else { length };
            let start = pts;
            pts = pts.saturating_add(length);
            canvas.frame(Some(start), Some(length))
        };
        Some(Ok(Image { frame, missing: None }))
    }))
}

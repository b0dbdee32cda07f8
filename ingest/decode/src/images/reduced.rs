use gstreamer as gst;
use gstreamer_video::{VideoFormat, VideoInfo};
use moliceiro_messages::Size;

use super::canvas::{PIXEL, Rectangle};

/// A smaller copy of a canvas. Each of its pixels is the mean of a square.
///
/// Scaling a large canvas takes longer than drawing a small frame to it, and this takes as long as
/// the part that changes.
pub(super) struct Reduced {
    /// Side of a square, in pixels of the canvas.
    step: usize,
    pub(super) buffer: gst::Buffer,
    pub(super) info: VideoInfo,
}

impl Reduced {
    /// `None` unless the canvas is several times larger than its picture.
    pub(super) fn new(canvas: Size, picture: Size) -> Result<Option<Self>, gst::glib::BoolError> {
        // The larger ratio of sides is the one that the picture is scaled by. What remains to be
        // scaled has at least two pixels for each of the picture.
        let ratio = |canvas: u32, picture: u32| canvas / (2 * picture.max(1));
        let step = ratio(canvas.width, picture.width).max(ratio(canvas.height, picture.height));
        if step < 2 {
            return Ok(None);
        }
        let (width, height) = (canvas.width.div_ceil(step), canvas.height.div_ceil(step));
        let info = VideoInfo::builder(VideoFormat::Rgba, width, height).build()?;
        let buffer = gst::Buffer::from_mut_slice(vec![0; info.size()]);
        Ok(Some(Self { step: step as usize, buffer, info }))
    }

    /// Repeats a change of `canvas`, whose rows have `whole` bytes.
    pub(super) fn update(
        &mut self,
        canvas: &[u8],
        whole: usize,
        changed: Rectangle,
    ) -> Result<(), gst::glib::BoolError> {
        let step = self.step;
        let squares = |start: u32, length: u32| {
            let (start, end) = (start as usize, start as usize + length as usize);
            if length == 0 { 0..0 } else { start / step..end.div_ceil(step) }
        };
        let mut map = self
            .buffer
            .make_mut()
            .map_writable()
            .map_err(|_| gst::glib::bool_error!("a canvas cannot be written"))?;
        let row = self.info.width() as usize * PIXEL;
        for y in squares(changed.top, changed.height) {
            for x in squares(changed.left, changed.width) {
                let (left, right) = (x * step * PIXEL, ((x + 1) * step * PIXEL).min(whole));
                let (mut sums, mut count) = ([0u64; PIXEL], 0u64);
                for line in canvas.chunks_exact(whole).skip(y * step).take(step) {
                    for pixel in line[left..right].as_chunks::<PIXEL>().0 {
                        for (sum, value) in sums.iter_mut().zip(pixel) {
                            *sum += u64::from(*value);
                        }
                        count += 1;
                    }
                }
                let at = y * row + x * PIXEL;
                for (to, sum) in map[at..at + PIXEL].iter_mut().zip(sums) {
                    #[expect(clippy::cast_possible_truncation, reason = "a mean of bytes")]
                    let mean = ((sum + count / 2) / count.max(1)) as u8;
                    *to = mean;
                }
            }
        }
        Ok(())
    }
}

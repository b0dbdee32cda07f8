use gstreamer as gst;
use gstreamer_video::{VideoFormat, VideoInfo};
use moliceiro_messages::Size;

use super::Context;
use super::reduced::Reduced;
use crate::error::DecodeError;
use crate::geometry::Orientation;
use crate::raw_frame::RawFrame;

pub(super) const PIXEL: usize = 4;

/// A part of an animation's canvas. It may lie partly outside of it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Rectangle {
    pub(super) left: u32,
    pub(super) top: u32,
    pub(super) width: u32,
    pub(super) height: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Blend {
    Replace,
    /// By the alpha of the drawn pixels.
    Over,
}

/// What happens to the part that a frame was drawn to, before the next one is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Disposal {
    Keep,
    Clear,
    Restore,
}

/// What the frames of an animation are drawn to.
///
/// A frame shares the canvas's memory, and so costs as much as the part that changes.
pub(super) struct Canvas {
    size: Size,
    info: VideoInfo,
    buffer: gst::Buffer,
    /// What pictures are made of, if the canvas is much larger.
    reduced: Option<Reduced>,
    /// What is to be done before the next frame.
    disposal: Option<(Rectangle, Disposed)>,
}

enum Disposed {
    Cleared,
    Restored(Vec<u8>),
}

impl Canvas {
    /// A transparent one.
    pub(super) fn new(size: Size, context: &Context) -> Result<Self, DecodeError> {
        let info = VideoInfo::builder(VideoFormat::Rgba, size.width, size.height).build();
        let info = info.map_err(|error| context.gstreamer(&error))?;
        let buffer = gst::Buffer::from_mut_slice(vec![0; info.size()]);
        let reduced = context.picture.map_or(Ok(None), |picture| Reduced::new(size, picture));
        let reduced = reduced.map_err(|error| context.gstreamer(&error))?;
        Ok(Self { size, info, buffer, reduced, disposal: None })
    }

    /// Draws a frame, which has four bytes a pixel (RGBA).
    pub(super) fn draw(
        &mut self,
        rectangle: Rectangle,
        pixels: &[u8],
        blend: Blend,
        disposal: Disposal,
    ) -> Result<(), gst::glib::BoolError> {
        let inside = self.clip(rectangle);
        let whole = self.size.width as usize * PIXEL;
        let mut map = self
            .buffer
            .make_mut()
            .map_writable()
            .map_err(|_| gst::glib::bool_error!("a canvas cannot be written"))?;
        let canvas = map.as_mut_slice();
        let disposed = self.disposal.take();
        let before = disposed.as_ref().map(|(before, _)| *before);
        match disposed {
            Some((before, Disposed::Cleared)) => {
                rows(canvas, whole, before).for_each(|row| row.fill(0));
            }
            Some((before, Disposed::Restored(saved))) if before.width > 0 => {
                let row = before.width as usize * PIXEL;
                rows(canvas, whole, before)
                    .zip(saved.chunks_exact(row))
                    .for_each(|(to, from)| to.copy_from_slice(from));
            }
            _ => {}
        }
        self.disposal = match disposal {
            Disposal::Keep => None,
            Disposal::Clear => Some((inside, Disposed::Cleared)),
            Disposal::Restore => {
                let saved = rows(canvas, whole, inside).flat_map(|row| row.to_vec()).collect();
                Some((inside, Disposed::Restored(saved)))
            }
        };
        let stride = (rectangle.width as usize * PIXEL).max(1);
        for (to, from) in rows(canvas, whole, inside).zip(pixels.chunks_exact(stride)) {
            let from = &from[..to.len()];
            match blend {
                Blend::Replace => to.copy_from_slice(from),
                Blend::Over => to
                    .as_chunks_mut::<PIXEL>()
                    .0
                    .iter_mut()
                    .zip(from.as_chunks::<PIXEL>().0)
                    .for_each(|(to, from)| over(to, *from)),
            }
        }
        if let Some(reduced) = &mut self.reduced {
            for changed in before.into_iter().chain([inside]) {
                reduced.update(canvas, whole, changed)?;
            }
        }
        Ok(())
    }

    /// What is shown now. Times are in nanoseconds.
    pub(super) fn frame(&self, pts: Option<u64>, length: Option<u64>) -> RawFrame {
        let (buffer, info) = match &self.reduced {
            Some(reduced) => (&reduced.buffer, &reduced.info),
            None => (&self.buffer, &self.info),
        };
        let still = RawFrame::still(buffer.clone(), info.clone(), Orientation::default());
        RawFrame { shown: self.size, pts, length, ..still }
    }

    fn clip(&self, Rectangle { left, top, width, height }: Rectangle) -> Rectangle {
        let Size { width: whole_width, height: whole_height } = self.size;
        Rectangle {
            left: left.min(whole_width),
            top: top.min(whole_height),
            width: width.min(whole_width.saturating_sub(left)),
            height: height.min(whole_height.saturating_sub(top)),
        }
    }
}

/// The rows of a part of a canvas with rows of `whole` bytes, which contains it.
fn rows(
    canvas: &mut [u8],
    whole: usize,
    Rectangle { left, top, width, height }: Rectangle,
) -> impl Iterator<Item = &mut [u8]> {
    let (start, end) = (left as usize * PIXEL, (left + width) as usize * PIXEL);
    canvas
        .chunks_exact_mut(whole)
        .skip(top as usize)
        .take(height as usize)
        .map(move |row| &mut row[start..end])
}

/// Draws a pixel over another one. Colours are not multiplied by their alpha.
fn over(to: &mut [u8; PIXEL], from: [u8; PIXEL]) {
    match from[3] {
        0 => {}
        255 => *to = from,
        alpha => {
            let alpha = u32::from(alpha);
            let below = u32::from(to[3]) * (255 - alpha) / 255;
            let sum = alpha + below;
            let mix = |from: u8, to: u8| {
                #[expect(clippy::cast_possible_truncation, reason = "a mean of bytes is a byte")]
                let mean = ((u32::from(from) * alpha + u32::from(to) * below) / sum) as u8;
                mean
            };
            #[expect(clippy::cast_possible_truncation, reason = "it is at most 255")]
            let opacity = sum as u8;
            *to = [mix(from[0], to[0]), mix(from[1], to[1]), mix(from[2], to[2]), opacity];
        }
    }
}

//! Makes pictures of interlaced frames, whose two fields are of two moments: together they are
//! combed wherever something moves.
//!
//! Each frame stays one frame. Where the picture has at most half as many rows as a field, the
//! field alone is enough, and costs less than the whole frame. Otherwise the lines of the other
//! field are replaced (`fields`).

use gstreamer as gst;
use gstreamer_video::prelude::VideoBufferExt;
use gstreamer_video::{
    VideoBufferFlags, VideoFieldOrder, VideoFormatFlags, VideoFormatInfo, VideoInfo,
    VideoInfoBuilder, VideoInterlaceMode, VideoMeta,
};
use moliceiro_messages::Deinterlace;

use crate::fields::{Lines, Sample};
use crate::raw_frame::RawFrame;

/// The lines of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Parity {
    /// The first line of the frame, the third, and so on.
    Top,
    Bottom,
}

/// The last frame, if it is interlaced.
#[derive(Debug, Default)]
pub(crate) struct Before(Option<(gst::Buffer, VideoInfo)>);

/// The frames to analyse for one that was decoded: itself, or one for each field.
pub(crate) fn separate(
    mut frame: RawFrame,
    deinterlace: Deinterlace,
    before: &mut Before,
) -> (RawFrame, Option<RawFrame>) {
    if deinterlace == Deinterlace::Off || !is_interlaced(&frame) {
        before.0 = None;
        return (frame, None);
    }
    let (first, second) = match is_top_first(&frame) {
        true => (Parity::Top, Parity::Bottom),
        false => (Parity::Bottom, Parity::Top),
    };
    if deinterlace == Deinterlace::Auto {
        let last = before.0.replace((frame.buffer.clone(), frame.info.clone()));
        frame.field = Some(first);
        frame.before = last.filter(|(_, info)| *info == frame.info).map(|(buffer, _)| buffer);
        return (frame, None);
    }
    let half = frame.length.map(|length| length / 2);
    let later = frame.pts.map(|pts| pts.saturating_add(half.unwrap_or_default()));
    let second = RawFrame { field: Some(second), length: half, pts: later, ..frame.same() };
    (RawFrame { field: Some(first), length: half, ..frame }, Some(second))
}

/// Whether [`separate`] returns two frames for this one.
pub(crate) fn doubles(frame: &RawFrame, deinterlace: Deinterlace) -> bool {
    deinterlace == Deinterlace::Fields && is_interlaced(frame)
}

/// The format of buffers that hold one field each, as that of a frame: the field is all that there
/// is of its moment. Other formats are returned as they are.
pub(crate) fn of_alternate_fields(info: VideoInfo) -> Option<VideoInfo> {
    if info.interlace_mode() != VideoInterlaceMode::Alternate {
        return Some(info);
    }
    like(&info, info.field_height()).build().ok()
}

fn is_interlaced(frame: &RawFrame) -> bool {
    match frame.info.interlace_mode() {
        VideoInterlaceMode::Interleaved => true,
        VideoInterlaceMode::Mixed => has_flag(frame, VideoBufferFlags::INTERLACED),
        _ => false,
    }
}

fn is_top_first(frame: &RawFrame) -> bool {
    match frame.info.field_order() {
        VideoFieldOrder::TopFieldFirst => true,
        VideoFieldOrder::BottomFieldFirst => false,
        _ => has_flag(frame, VideoBufferFlags::TFF),
    }
}

fn has_flag(frame: &RawFrame, flag: VideoBufferFlags) -> bool {
    frame.buffer.video_flags().contains(flag)
}

/// A frame that shows only its [`field`](RawFrame::field), for a picture with `rows`. `None` if it
/// has to be shown as it is.
pub(crate) fn one_field(frame: &RawFrame, rows: impl Fn() -> u32) -> Option<RawFrame> {
    let parity = frame.field?;
    let layout = Layout::of(frame)?;
    if frame.info.height() / 4 >= rows() {
        return layout.only_field(frame, parity);
    }
    match frame.info.format_info().depth().iter().max() {
        Some(..=8) => layout.replace_other_field::<u8>(frame, parity),
        Some(9..=16) => layout.replace_other_field::<u16>(frame, parity),
        _ => None,
    }
}

/// Where the lines of a frame lie in its buffer.
struct Layout {
    offsets: Vec<usize>,
    strides: Vec<i32>,
}

impl Layout {
    /// `None` if a line is not a row of bytes or of 16-bit values after the line above it.
    fn of(frame: &RawFrame) -> Option<Self> {
        let info = &frame.info;
        has_plain_rows(info.format_info()).then(|| Self::of_buffer(&frame.buffer, info))
    }

    fn of_buffer(buffer: &gst::BufferRef, info: &VideoInfo) -> Self {
        let (offsets, strides) = match buffer.meta::<VideoMeta>() {
            Some(meta) => (meta.offset().to_vec(), meta.stride().to_vec()),
            None => (info.offset().to_vec(), info.stride().to_vec()),
        };
        Self { offsets, strides }
    }

    /// The field as a frame of half the height, which shares the memory.
    fn only_field(mut self, frame: &RawFrame, parity: Parity) -> Option<RawFrame> {
        for (offset, stride) in self.offsets.iter_mut().zip(&mut self.strides) {
            if parity == Parity::Bottom {
                *offset = offset.checked_add(usize::try_from(*stride).ok()?)?;
            }
            *stride = stride.checked_mul(2)?;
        }
        let height = match parity {
            Parity::Top => frame.info.height().div_ceil(2),
            // In an odd height the last line may have no chroma of its own.
            Parity::Bottom => frame.info.height() / 4 * 2,
        };
        let builder = like(&frame.info, height).offset(&self.offsets).stride(&self.strides);
        let info = builder.build().ok()?;
        // Without its metadata, which describes the whole frame.
        let buffer = frame.buffer.copy_region(gst::BufferCopyFlags::MEMORY, ..).ok()?;
        let fits = self.planes(&info).iter().all(|plane| plane.end() <= Some(buffer.size()));
        fits.then(|| shown_as(frame, buffer, info))
    }

    /// A copy of the frame in which the lines of the other field follow the moment of this one.
    fn replace_other_field<T: Sample>(self, frame: &RawFrame, parity: Parity) -> Option<RawFrame> {
        let planes = self.planes(&frame.info);
        let own = frame.buffer.map_readable().ok()?;
        let before = frame.before.as_ref().and_then(|buffer| {
            let planes = Self::of_buffer(buffer, &frame.info).planes(&frame.info);
            buffer.map_readable().ok().map(|bytes| (bytes, planes))
        });
        let mut bytes = own.to_vec();
        let other = match parity {
            Parity::Top => 1,
            Parity::Bottom => 0,
        };
        for (index, plane) in planes.iter().enumerate() {
            let lines = plane.lines(&own)?;
            let before = before.as_ref().and_then(|(bytes, planes)| {
                planes.get(index).filter(|other| other.is_like(plane))?.lines(bytes)
            });
            for y in (other..plane.rows).step_by(2) {
                let start = plane.offset + y * plane.stride;
                let line = bytes.get_mut(start..start + plane.width)?;
                match before {
                    Some(before) if lines.has_around(y) => lines.adapt::<T>(before, y, line),
                    _ => lines.follow::<T>(y, line),
                }
            }
        }
        drop(own);
        let info = like(&frame.info, frame.info.height())
            .offset(&self.offsets)
            .stride(&self.strides)
            .build()
            .ok()?;
        Some(shown_as(frame, gst::Buffer::from_mut_slice(bytes), info))
    }

    fn planes(&self, info: &VideoInfo) -> Vec<Plane> {
        let format = info.format_info();
        let mut planes: Vec<_> = self
            .offsets
            .iter()
            .zip(&self.strides)
            .map(|(offset, stride)| Plane {
                offset: *offset,
                stride: stride.unsigned_abs() as usize,
                rows: 0,
                width: 0,
            })
            .collect();
        for (component, plane) in (0u8..).zip(format.plane()).take(format.n_components() as usize) {
            let Some(plane) = planes.get_mut(*plane as usize) else { continue };
            let step = usize::try_from(info.comp_pstride(component)).unwrap_or_default();
            let width = info.comp_width(component) as usize * step;
            plane.rows = info.comp_height(component) as usize;
            plane.width = plane.width.max(width).min(plane.stride);
        }
        planes.retain(|plane| plane.rows > 0);
        planes
    }
}

/// One plane in a buffer: lengths are in bytes.
struct Plane {
    offset: usize,
    stride: usize,
    rows: usize,
    width: usize,
}

impl Plane {
    /// Where its last line ends.
    fn end(&self) -> Option<usize> {
        let last = self.rows.checked_sub(1)?.checked_mul(self.stride)?;
        self.offset.checked_add(last)?.checked_add(self.width)
    }

    /// Its lines in the bytes of a buffer; `None` if they are not all there.
    fn lines<'a>(&self, bytes: &'a [u8]) -> Option<Lines<'a>> {
        let &Self { stride, width, rows, .. } = self;
        Some(Lines { bytes: bytes.get(self.offset..self.end()?)?, stride, width, rows })
    }

    fn is_like(&self, other: &Self) -> bool {
        (self.rows, self.width) == (other.rows, other.width)
    }
}

/// Whether each value of a line is a byte, or 16 bits with the low byte first.
fn has_plain_rows(format: VideoFormatInfo) -> bool {
    let components = format.n_components() as usize;
    let places: Vec<_> = format.plane().iter().zip(format.poffset()).take(components).collect();
    let shares_bits = places.iter().enumerate().any(|(n, place)| places[..n].contains(place));
    let mut steps = format.pixel_stride().iter().take(components);
    let is_deep = format.depth().iter().any(|bits| *bits > 8);
    !format.flags().intersects(VideoFormatFlags::TILED | VideoFormatFlags::PALETTE)
        && !shares_bits
        && if is_deep {
            format.is_le() && steps.all(|step| *step > 0 && step % 2 == 0)
        } else {
            steps.all(|step| *step > 0)
        }
}

fn shown_as(frame: &RawFrame, buffer: gst::Buffer, info: VideoInfo) -> RawFrame {
    RawFrame { buffer, info, field: None, before: None, ..*frame }
}

/// A progressive format with the same pixels, and `height` lines.
fn like<'a>(info: &VideoInfo, height: u32) -> VideoInfoBuilder<'a> {
    VideoInfo::builder(info.format(), info.width(), height)
        .fps(info.fps())
        .par(info.par())
        .colorimetry(&info.colorimetry())
        .chroma_site(info.chroma_site())
}

use gstreamer as gst;
use gstreamer_video::VideoInfo;
use moliceiro_messages::Size;

use crate::geometry::Orientation;
use crate::interlacing::{self, Parity};
use crate::timeline::stream_time;

/// A frame as a decoder returns it.
pub(crate) struct RawFrame {
    pub(crate) buffer: gst::Buffer,
    /// Pixel format and layout of the buffer.
    pub(crate) info: VideoInfo,
    /// Size that the pixels' shape refers to: a field is shown as high as its frame.
    pub(crate) shown: Size,
    pub(crate) orientation: Orientation,
    /// The field of which the picture is made, if the frame has two of different moments.
    pub(crate) field: Option<Parity>,
    /// The frame before it, if that has the same format and is interlaced too.
    pub(crate) before: Option<gst::Buffer>,
    /// Presentation time, in nanoseconds on the video's timeline.
    pub(crate) pts: Option<u64>,
    /// Display time, in nanoseconds.
    pub(crate) length: Option<u64>,
}

impl RawFrame {
    /// `None` if the sample has no buffer or no video format.
    pub(crate) fn from_sample(sample: &gst::Sample, orientation: Orientation) -> Option<Self> {
        let info = VideoInfo::from_caps(sample.caps()?).ok()?;
        let info = interlacing::of_alternate_fields(info)?;
        let buffer = sample.buffer_owned()?;
        let length = buffer.duration().map(gst::ClockTime::nseconds);
        let pts = presentation_time(sample, &buffer);
        Some(Self { pts, length, ..Self::still(buffer, info, orientation) })
    }

    /// A whole frame that has no time.
    pub(crate) fn still(buffer: gst::Buffer, info: VideoInfo, orientation: Orientation) -> Self {
        let shown = Size { width: info.width(), height: info.height() };
        Self {
            buffer,
            info,
            shown,
            orientation,
            field: None,
            before: None,
            pts: None,
            length: None,
        }
    }

    /// The same frame: its pixels are shared.
    pub(crate) fn same(&self) -> Self {
        let (buffer, info, before) = (self.buffer.clone(), self.info.clone(), self.before.clone());
        Self { buffer, info, before, ..*self }
    }

    /// The frame as a picture of a folder, which has no timeline.
    pub(crate) fn without_time(self) -> Self {
        Self { pts: None, length: None, ..self }
    }
}

fn presentation_time(sample: &gst::Sample, buffer: &gst::BufferRef) -> Option<u64> {
    let pts = buffer.pts()?;
    match sample.segment().and_then(|segment| segment.downcast_ref::<gst::ClockTime>()) {
        Some(segment) => stream_time(segment, pts),
        None => Some(pts.nseconds()),
    }
}

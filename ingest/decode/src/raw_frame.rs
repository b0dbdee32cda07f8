use gstreamer as gst;
use gstreamer_video::VideoInfo;

use crate::geometry::Orientation;
use crate::timeline::stream_time;

/// A frame as a decoder returns it.
pub(crate) struct RawFrame {
    pub(crate) buffer: gst::Buffer,
    /// Pixel format and layout of the buffer.
    pub(crate) info: VideoInfo,
    pub(crate) orientation: Orientation,
    /// Presentation time, in nanoseconds on the video's timeline.
    pub(crate) pts: Option<u64>,
    /// Display time, in nanoseconds.
    pub(crate) length: Option<u64>,
}

impl RawFrame {
    /// `None` if the sample has no buffer or no video format.
    pub(crate) fn from_sample(sample: &gst::Sample, orientation: Orientation) -> Option<Self> {
        let info = VideoInfo::from_caps(sample.caps()?).ok()?;
        let buffer = sample.buffer_owned()?;
        let length = buffer.duration().map(gst::ClockTime::nseconds);
        let pts = presentation_time(sample, &buffer);
        Some(Self { buffer, info, orientation, pts, length })
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

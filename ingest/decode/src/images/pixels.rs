use gstreamer as gst;
use gstreamer_video::{VideoFormat, VideoInfo};
use moliceiro_messages::Size;

use super::{Context, Image};
use crate::error::{DecodeError, Incomplete};
use crate::geometry::Orientation;
use crate::raw_frame::RawFrame;

/// A packed picture that is written row by row.
pub(super) struct Pixels {
    info: VideoInfo,
    bytes: Vec<u8>,
    stride: usize,
    row: usize,
}

impl Pixels {
    /// A black picture. `format` has one plane.
    pub(super) fn new(
        format: VideoFormat,
        size: Size,
        context: &Context,
    ) -> Result<Self, DecodeError> {
        let info = VideoInfo::builder(format, size.width, size.height).build();
        let info = info.map_err(|error| context.gstreamer(&error))?;
        let stride = info.stride()[0].unsigned_abs() as usize;
        let row = size.width as usize * info.comp_pstride(0).unsigned_abs() as usize;
        Ok(Self { bytes: vec![0; info.size()], info, stride, row })
    }

    /// The rows, from the top.
    pub(super) fn rows(&mut self) -> impl Iterator<Item = &mut [u8]> {
        let row = self.row;
        self.bytes.chunks_mut(self.stride).map(move |bytes| &mut bytes[..row])
    }

    /// The whole buffer, and how many bytes of it a row takes.
    pub(super) fn buffer(&mut self) -> (&mut [u8], usize) {
        (&mut self.bytes, self.stride)
    }

    /// Fills it with rows that follow each other without padding.
    pub(super) fn fill(&mut self, packed: &[u8]) {
        let row = self.row;
        for (to, from) in self.rows().zip(packed.chunks_exact(row)) {
            to.copy_from_slice(from);
        }
    }

    /// The picture, which has no time.
    pub(super) fn into_image(self, orientation: Orientation, missing: Option<Incomplete>) -> Image {
        let buffer = gst::Buffer::from_mut_slice(self.bytes);
        let frame = RawFrame::still(buffer, self.info, orientation);
        Image { frame, missing }
    }
}

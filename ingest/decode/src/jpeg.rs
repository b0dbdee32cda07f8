use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app::{AppSink, AppSrc};
use gstreamer_video::{VideoFormat, VideoFrameFlags, VideoInfo, VideoMeta};
use moliceiro_messages::Size;

use super::elements::element;
use super::error;
use super::pipeline::Running;

const TIMEOUT: gst::ClockTime = gst::ClockTime::from_seconds(30);

/// GStreamer's JPEG encoder.
pub(super) struct JpegEncoder {
    running: Running,
    input: AppSrc,
    output: AppSink,
    /// Of the picture before.
    size: Size,
}

impl JpegEncoder {
    /// `size` is that of the first picture, `quality` is 1 to 100.
    pub(super) fn new(size: Size, quality: u8) -> Result<Self, gst::glib::BoolError> {
        let input = AppSrc::builder().caps(&caps(size)?).format(gst::Format::Time).build();
        // The fast transform, which is the default, loses so much that objects at the threshold
        // come and go.
        let encoder = element("jpegenc")
            .property("quality", i32::from(quality.clamp(1, 100)))
            .property_from_str("idct-method", "islow")
            .build()?;
        let output = AppSink::builder().sync(false).max_buffers(1).build();
        let pipeline = gst::Pipeline::new();
        pipeline.add_many([input.upcast_ref(), &encoder, output.upcast_ref()])?;
        gst::Element::link_many([input.upcast_ref(), &encoder, output.upcast_ref()])?;
        let running = Running::new(pipeline);
        running.play()?;
        Ok(Self { running, input, output, size })
    }

    /// Encodes the planes of a picture with full chroma as they are: what is halved is lost, and
    /// bytes are cheap beside it. The error is a line of text.
    pub(super) fn encode(&mut self, planes: Vec<u8>, size: Size) -> Result<Vec<u8>, String> {
        if self.size != size {
            self.input.set_caps(Some(&caps(size).map_err(|error| error.to_string())?));
            self.size = size;
        }
        let mut buffer = gst::Buffer::from_mut_slice(planes);
        let Size { width, height } = size;
        let (plane, strides) = (width as usize * height as usize, [width as i32; 3]);
        let (offsets, flags) = ([0, plane, 2 * plane], VideoFrameFlags::empty());
        VideoMeta::add_full(
            buffer.make_mut(),
            flags,
            VideoFormat::Y444,
            width,
            height,
            &offsets,
            &strides,
        )
        .map_err(|error| error.to_string())?;
        self.input.push_buffer(buffer).map_err(|error| error.to_string())?;
        let Some(sample) = self.output.try_pull_sample(TIMEOUT) else { return Err(self.failure()) };
        let map = sample.buffer().and_then(|buffer| buffer.map_readable().ok());
        map.map(|bytes| bytes.to_vec())
            .ok_or_else(|| "the JPEG encoder gave an unreadable buffer".to_owned())
    }

    fn failure(&self) -> String {
        match self.running.pop(&[gst::MessageType::Error]).as_ref().map(|message| message.view()) {
            Some(gst::MessageView::Error(message)) => {
                error::describe(&message.error(), message.debug().as_deref())
            }
            _ => "the JPEG encoder gave no picture".to_owned(),
        }
    }
}

fn caps(size: Size) -> Result<gst::Caps, gst::glib::BoolError> {
    VideoInfo::builder(VideoFormat::Y444, size.width, size.height).build()?.to_caps()
}

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app::{AppSink, AppSrc};
use gstreamer_video::{VideoFormat, VideoFrameFlags, VideoInfo, VideoMeta};
use moliceiro_messages::Size;

use crate::bus;
use crate::elements::element;
use crate::error::PictureError;
use crate::running::RunningPipeline;

/// For one picture.
const TIMEOUT: gst::ClockTime = gst::ClockTime::from_seconds(30);

/// GStreamer's JPEG encoder, in a pipeline of its own.
pub(crate) struct JpegEncoder {
    running: RunningPipeline,
    input: AppSrc,
    output: AppSink,
    /// Size that the input's caps have.
    size: Size,
}

impl JpegEncoder {
    /// `size` is that of the first picture, `quality` is from 1 to 100.
    pub(crate) fn new(size: Size, quality: u8) -> Result<Self, gst::glib::BoolError> {
        let input = AppSrc::builder().caps(&caps(size)?).format(gst::Format::Time).build();
        // The fast transform, which is the default, is so lossy that detections near the threshold
        // appear and disappear.
        let encoder = element("jpegenc")
            .property("quality", i32::from(quality.clamp(1, 100)))
            .property_from_str("idct-method", "islow")
            .build()?;
        let output = AppSink::builder().sync(false).max_buffers(1).build();
        let pipeline = gst::Pipeline::new();
        pipeline.add_many([input.upcast_ref(), &encoder, output.upcast_ref()])?;
        gst::Element::link_many([input.upcast_ref(), &encoder, output.upcast_ref()])?;
        let running = RunningPipeline::new(pipeline);
        running.play()?;
        Ok(Self { running, input, output, size })
    }

    /// Encodes the planes of a picture with full chroma (4:4:4): halving it loses detections, and
    /// the extra bytes are few.
    pub(crate) fn encode(&mut self, planes: Vec<u8>, size: Size) -> Result<Vec<u8>, PictureError> {
        if self.size != size {
            self.input.set_caps(Some(&caps(size)?));
            self.size = size;
        }
        let mut buffer = gst::Buffer::from_mut_slice(planes);
        let Size { width, height } = size;
        let (plane, strides) = (width as usize * height as usize, [width as i32; 3]);
        VideoMeta::add_full(
            buffer.make_mut(),
            VideoFrameFlags::empty(),
            VideoFormat::Y444,
            width,
            height,
            &[0, plane, 2 * plane],
            &strides,
        )?;
        self.input.push_buffer(buffer)?;
        let Some(sample) = self.output.try_pull_sample(TIMEOUT) else { return Err(self.failure()) };
        let map = sample.buffer().and_then(|buffer| buffer.map_readable().ok());
        map.map(|bytes| bytes.to_vec()).ok_or(PictureError::UnreadableJpeg)
    }

    fn failure(&self) -> PictureError {
        match self.running.pop(&[gst::MessageType::Error]).as_ref().map(|message| message.view()) {
            Some(gst::MessageView::Error(message)) => PictureError::JpegEncoder(bus::describe(
                &message.error(),
                message.debug().as_deref(),
            )),
            _ => PictureError::NoJpeg,
        }
    }
}

fn caps(size: Size) -> Result<gst::Caps, gst::glib::BoolError> {
    VideoInfo::builder(VideoFormat::Y444, size.width, size.height).build()?.to_caps()
}

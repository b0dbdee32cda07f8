use gstreamer as gst;
use gstreamer_video::{
    VideoColorMatrix, VideoColorimetry, VideoConverter, VideoConverterConfig, VideoFormat,
    VideoFrameRef, VideoGammaMode, VideoInfo, VideoMatrixMode, VideoPrimariesMode,
    VideoResamplerMethod,
};
use moliceiro_messages::{Scaling, Size};

use crate::color::PictureColor;

/// Scales frames of one format, and converts them to 8-bit Y'CbCr with full chroma (4:4:4).
pub(crate) struct Scaler {
    /// GStreamer's converter (seen in 1.22) corrupts frames of more than 8 bits that it scales up
    /// in one direction and down in the other, so such frames are converted to 8 bits first.
    /// Reproduced by `each_format_is_scaled_to_its_edges` and `the_frame_fills_its_letterbox`.
    to_8_bits: Option<Step>,
    scale: Step,
}

impl Scaler {
    pub(crate) fn new(
        source: &VideoInfo,
        colors: &PictureColor,
        size: Size,
        scaling: Scaling,
    ) -> Result<Self, gst::glib::BoolError> {
        // Without the interlace mode: both fields of an interlaced frame are scaled together.
        let info = |format, size: Size, colors: &VideoColorimetry| {
            VideoInfo::builder(format, size.width, size.height)
                .colorimetry(colors)
                .chroma_site(source.chroma_site())
                .build()
        };
        let stored = Size { width: source.width(), height: source.height() };
        let from = info(source.format(), stored, &colors.source)?;
        let to = info(VideoFormat::Y444, size, &colors.picture)?;
        if source.format_info().depth().iter().all(|bits| *bits <= 8) {
            return Ok(Self { to_8_bits: None, scale: Step::new(&from, to, scaling)? });
        }
        let between = info(VideoFormat::Y444, stored, &colors.picture)?;
        Ok(Self {
            to_8_bits: Some(Step::new(&from, between.clone(), scaling)?),
            scale: Step::new(&between, to, scaling)?,
        })
    }

    /// Scales a frame with the layout `info`. [`scaled`](Self::scaled) returns the result.
    pub(crate) fn scale(
        &mut self,
        frame: &gst::BufferRef,
        info: &VideoInfo,
    ) -> Result<(), gst::glib::BoolError> {
        let frame = VideoFrameRef::from_buffer_ref_readable(frame, info)?;
        match &mut self.to_8_bits {
            None => self.scale.run(&frame),
            Some(first) => {
                first.run(&frame)?;
                self.scale.run(&first.result()?)
            }
        }
    }

    /// The last frame that was scaled, until the next one.
    pub(crate) fn scaled(&self) -> Result<VideoFrameRef<&gst::BufferRef>, gst::glib::BoolError> {
        self.scale.result()
    }
}

/// One pass of GStreamer's converter, into a buffer that is reused.
struct Step {
    converter: VideoConverter,
    info: VideoInfo,
    buffer: gst::Buffer,
}

impl Step {
    fn new(
        from: &VideoInfo,
        to: VideoInfo,
        scaling: Scaling,
    ) -> Result<Self, gst::glib::BoolError> {
        let mut config = VideoConverterConfig::new();
        config.set_resampler_method(match scaling {
            Scaling::Linear => VideoResamplerMethod::Cubic,
            Scaling::Smooth => VideoResamplerMethod::Linear,
            Scaling::Lanczos => VideoResamplerMethod::Lanczos,
        });
        config.set_gamma_mode(VideoGammaMode::None);
        config.set_primaries_mode(VideoPrimariesMode::None);
        let convert_matrix = from.colorimetry().matrix() == VideoColorMatrix::Rgb;
        config.set_matrix_mode(if convert_matrix {
            VideoMatrixMode::Full
        } else {
            VideoMatrixMode::None
        });
        let is_half = (from.width(), from.height()) == (2 * to.width(), 2 * to.height());
        match scaling {
            Scaling::Linear => config = cubic(config, BETWEEN_NEIGHBOURS)?,
            // For this size alone, GStreamer's linear scaling (seen in 1.22) is the mean of two
            // pixels in each direction.
            Scaling::Smooth if is_half => {
                config.set_resampler_method(VideoResamplerMethod::Cubic);
                config = cubic(config, ONE_THREE_THREE_ONE)?;
            }
            Scaling::Smooth | Scaling::Lanczos => {}
        }
        let is_scaled = (from.width(), from.height()) != (to.width(), to.height());
        match scaling {
            Scaling::Lanczos => {}
            // As toolkits do that get frames from libswscale: each chroma sample as it is.
            _ if !is_scaled => config.set_chroma_resampler_method(VideoResamplerMethod::Nearest),
            // Else it is linear with as many taps, and takes twice as many pixels as it should.
            Scaling::Linear => config.set_chroma_resampler_method(VideoResamplerMethod::Cubic),
            Scaling::Smooth => {}
        }
        let converter = VideoConverter::new(from, &to, Some(config))?;
        let buffer = gst::Buffer::with_size(to.size())?;
        Ok(Self { converter, info: to, buffer })
    }

    fn run(&mut self, frame: &VideoFrameRef<&gst::BufferRef>) -> Result<(), gst::glib::BoolError> {
        let mut to = VideoFrameRef::from_buffer_ref_writable(self.buffer.make_mut(), &self.info)?;
        self.converter.frame_ref(frame, &mut to);
        Ok(())
    }

    fn result(&self) -> Result<VideoFrameRef<&gst::BufferRef>, gst::glib::BoolError> {
        VideoFrameRef::from_buffer_ref_readable(&self.buffer, &self.info)
    }
}

/// B of a cubic filter that leaves it the two nearest pixels in each direction, however much smaller
/// the picture is. GStreamer's linear scaling (seen in 1.22) takes all pixels that are covered or,
/// with two taps, places columns by the middles of the outermost ones.
const BETWEEN_NEIGHBOURS: f64 = 0.0;
/// B of one that weighs the four nearest pixels so, between two of them.
const ONE_THREE_THREE_ONE: f64 = 6.0;

/// Cubic scaling of four pixels in each direction, with this B, and 0 as C.
fn cubic(
    mut config: VideoConverterConfig,
    b: f64,
) -> Result<VideoConverterConfig, gst::glib::BoolError> {
    config.set_resampler_taps(4);
    let mut config = gst::Structure::from(config);
    config.set("GstVideoResampler.cubic-b", b);
    config.set("GstVideoResampler.cubic-c", 0.0f64);
    VideoConverterConfig::try_from(config)
}

#[cfg(test)]
mod tests {
    use gstreamer_video::VideoFrameExt;

    use super::*;
    use crate::color;

    /// A white frame.
    fn white(info: &VideoInfo) -> gst::Buffer {
        let from =
            VideoInfo::builder(VideoFormat::Argb, info.width(), info.height()).build().unwrap();
        let argb = gst::Buffer::from_slice(vec![255; from.size()]);
        let mut buffer = gst::Buffer::with_size(info.size()).unwrap();
        let converter = VideoConverter::new(&from, info, None).unwrap();
        let mut to = VideoFrameRef::from_buffer_ref_writable(buffer.make_mut(), info).unwrap();
        converter
            .frame_ref(&VideoFrameRef::from_buffer_ref_readable(&argb, &from).unwrap(), &mut to);
        drop(to);
        buffer
    }

    const SCALINGS: [Scaling; 3] = [Scaling::Lanczos, Scaling::Linear, Scaling::Smooth];

    #[test]
    fn a_smaller_frame_has_the_nearest_pixels_or_the_mean_of_all_that_it_covers() {
        gst::init().unwrap();
        let info = VideoInfo::builder(VideoFormat::Gray8, 64, 8).build().unwrap();
        let row: Vec<u8> = [0, 80, 0, 0, 0, 0, 160, 240].repeat(8);
        let frame = gst::Buffer::from_slice(row.repeat(8));
        let size = Size { width: 16, height: 2 };
        let colors = color::of_picture(&info);
        for (scaling, expected) in [(Scaling::Linear, [40, 80]), (Scaling::Smooth, [45, 75])] {
            let mut scaler = Scaler::new(&info, &colors, size, scaling).unwrap();
            scaler.scale(&frame, &info).unwrap();
            let scaled = scaler.scaled().unwrap();
            let found = &scaled.plane_data(0).unwrap()[6..8];
            let is_near = |(found, wanted): (&u8, &u8)| found.abs_diff(*wanted) <= 1;
            assert!(found.iter().zip(&expected).all(is_near), "{scaling:?}: {found:?}");
        }
    }

    /// As Pillow's, which is the mean of four pixels with the weights 1, 3, 3, 1.
    #[test]
    fn half_a_frame_has_the_mean_of_all_that_it_covers() {
        gst::init().unwrap();
        let info = VideoInfo::builder(VideoFormat::I420, 64, 8).build().unwrap();
        let mut bytes = vec![128; info.size()];
        let row: Vec<u8> = [0, 80, 0, 0, 0, 0, 160, 240].repeat(8);
        for y in 0..8 {
            bytes[y * info.stride()[0] as usize..][..64].copy_from_slice(&row);
        }
        let frame = gst::Buffer::from_slice(bytes);
        let (colors, size) = (color::of_picture(&info), Size { width: 32, height: 4 });
        let mut scaler = Scaler::new(&info, &colors, size, Scaling::Smooth).unwrap();
        scaler.scale(&frame, &info).unwrap();
        let found = scaler.scaled().unwrap().plane_data(0).unwrap()[4..8].to_vec();
        let is_near = |(found, wanted): (&u8, &u8)| found.abs_diff(*wanted) <= 1;
        assert!(found.iter().zip(&[60, 10, 20, 150]).all(is_near), "{found:?}");
    }

    /// The chroma of one pixel does not become that of others: as in OpenCV, whose frames come from
    /// libswscale, and which then scales between neighbours.
    #[test]
    fn chroma_is_as_sharp_as_the_picture() {
        gst::init().unwrap();
        let (columns, rows) = (64, 32);
        let chroma = |x: usize| [100, 100, 200, 100][x % 4];
        let info = VideoInfo::builder(VideoFormat::I420, columns, rows).build().unwrap();
        let mut frame = vec![128u8; info.size()];
        for plane in 1..3 {
            let (from, stride) = (info.offset()[plane], info.stride()[plane] as usize);
            for (row, x) in (0..rows as usize / 2).flat_map(|y| (0..32).map(move |x| (y, x))) {
                frame[from + row * stride + x] = chroma(x);
            }
        }
        let frame = gst::Buffer::from_slice(frame);
        let colors = color::of_picture(&info);
        let scaled = |size: Size, scaling| {
            let mut scaler = Scaler::new(&info, &colors, size, scaling).unwrap();
            scaler.scale(&frame, &info).unwrap();
            let scaled = scaler.scaled().unwrap();
            scaled.plane_data(1).unwrap()[16..24].to_vec()
        };
        for scaling in [Scaling::Linear, Scaling::Smooth] {
            let same = scaled(Size { width: columns, height: rows }, scaling);
            assert_eq!(same, [100, 100, 100, 100, 200, 200, 100, 100], "{scaling:?}");
        }
        let half = scaled(Size { width: columns / 2, height: rows / 2 }, Scaling::Linear);
        assert_eq!(half, [100, 100, 200, 100, 100, 100, 200, 100]);
        let larger = scaled(Size { width: 2 * columns, height: 2 * rows }, Scaling::Linear);
        assert!(larger.iter().all(|value| *value <= 160), "{larger:?}");
    }

    /// `cargo test -p moliceiro-decode --lib -- --ignored --nocapture milliseconds`
    #[test]
    #[ignore = "a measurement"]
    fn milliseconds_of_a_frame() {
        gst::init().unwrap();
        let noise = |index: usize| (index * 7919).to_le_bytes()[1];
        for (from, to) in
            [((1280, 720), (640, 360)), ((1920, 1080), (640, 360)), ((640, 360), (640, 360))]
        {
            let info = VideoInfo::builder(VideoFormat::I420, from.0, from.1).build().unwrap();
            let frame = gst::Buffer::from_slice((0..info.size()).map(noise).collect::<Vec<u8>>());
            let colors = color::of_picture(&info);
            for scaling in SCALINGS {
                let size = Size { width: to.0, height: to.1 };
                let mut scaler = Scaler::new(&info, &colors, size, scaling).unwrap();
                let mut times: Vec<_> = (0..100)
                    .map(|_| {
                        let started = std::time::Instant::now();
                        scaler.scale(&frame, &info).unwrap();
                        started.elapsed()
                    })
                    .collect();
                times.sort();
                let (fastest, median) = (times[0], times[times.len() / 2]);
                println!("{from:?} to {to:?}, {scaling:?}: {median:?}, at best {fastest:?}");
            }
        }
    }

    #[test]
    fn each_format_is_scaled_to_its_edges() {
        gst::init().unwrap();
        let sizes = [(200, 300), (300, 200), (101, 99), (70, 500)]
            .map(|(width, height)| Size { width, height });
        for format in VideoFormat::iter_raw() {
            for (from, to) in sizes.into_iter().flat_map(|from| sizes.map(|to| (from, to))) {
                let info = VideoInfo::builder(format, from.width, from.height).build().unwrap();
                let colors = color::of_picture(&info);
                // Each method must reach the edges: one is tried with each format and size.
                let scaling = SCALINGS[(to.width + from.height) as usize % SCALINGS.len()];
                let mut scaler = Scaler::new(&info, &colors, to, scaling).unwrap();
                scaler.scale(&white(&info), &info).unwrap();
                let scaled = scaler.scaled().unwrap();
                let expected = if colors.color.full_range { 255 } else { 235 };
                for row in scaled
                    .plane_data(0)
                    .unwrap()
                    .chunks(scaled.plane_stride()[0] as usize)
                    .take(to.height as usize)
                {
                    let row = &row[..to.width as usize];
                    assert!(
                        row.iter().all(|value: &u8| value.abs_diff(expected) <= 3),
                        "{format:?}, {from:?} to {to:?}: {row:?}"
                    );
                }
            }
        }
    }
}

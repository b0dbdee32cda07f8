use gstreamer as gst;
use gstreamer_video::{
    VideoColorMatrix, VideoConverter, VideoConverterConfig, VideoFormat, VideoFrameExt, VideoFrameRef, VideoGammaMode, VideoInfo, VideoMatrixMode,
    VideoPrimariesMode, VideoResamplerMethod,
};
use moliceiro_nats::messages::{Color, Letterbox, Size};

use super::color;
use super::geometry::{Orientation, letterbox};

/// Two taps interpolate between the nearest two pixels each way, like the pre-processing that the models were tuned with;
/// more would average over all that a picture pixel covers.
const RESAMPLER_TAPS: u32 = 2;

/// Makes letterboxed I420 pictures of frames that have one format and orientation.
pub(super) struct PictureMaker {
    source: VideoInfo,
    orientation: Orientation,
    picture: Size,
    letterbox: Letterbox,
    color: Color,
    converter: VideoConverter,
    scaled: VideoInfo,
    /// What the converter writes: the frame in its final size, but not turned yet.
    scratch: gst::Buffer,
}

impl PictureMaker {
    pub(super) fn new(source: &VideoInfo, orientation: Orientation, picture: Size) -> Result<Self, gst::glib::BoolError> {
        let stored = Size { width: source.width(), height: source.height() };
        let aspect = source.par();
        let aspect = (aspect.numer().unsigned_abs(), aspect.denom().unsigned_abs());
        let letterbox = letterbox(stored, aspect, orientation, picture);
        let content = orientation.turn(letterbox.content);
        let colors = color::of_picture(source);
        // Interlaced frames are scaled as a whole, whatever their fields.
        let from = VideoInfo::builder(source.format(), stored.width, stored.height)
            .colorimetry(&colors.source)
            .chroma_site(source.chroma_site())
            .build()?;
        let scaled = VideoInfo::builder(VideoFormat::I420, content.width, content.height)
            .colorimetry(&colors.picture)
            .chroma_site(source.chroma_site())
            .build()?;
        let mut config = VideoConverterConfig::new();
        config.set_resampler_method(VideoResamplerMethod::Linear);
        config.set_resampler_taps(RESAMPLER_TAPS);
        config.set_gamma_mode(VideoGammaMode::None);
        config.set_primaries_mode(VideoPrimariesMode::None);
        let convert_matrix = colors.source.matrix() == VideoColorMatrix::Rgb;
        config.set_matrix_mode(if convert_matrix { VideoMatrixMode::Full } else { VideoMatrixMode::None });
        let converter = VideoConverter::new(&from, &scaled, Some(config))?;
        let scratch = gst::Buffer::with_size(scaled.size())?;
        Ok(Self { source: source.clone(), orientation, picture, letterbox, color: colors.color, converter, scaled, scratch })
    }

    pub(super) fn fits(&self, source: &VideoInfo, orientation: Orientation) -> bool {
        self.source == *source && self.orientation == orientation
    }

    pub(super) fn letterbox(&self) -> Letterbox {
        self.letterbox
    }

    pub(super) fn color(&self) -> Color {
        self.color
    }

    /// The picture's planes, without padding.
    pub(super) fn make(&mut self, frame: &gst::BufferRef) -> Result<Vec<u8>, gst::glib::BoolError> {
        let source = VideoFrameRef::from_buffer_ref_readable(frame, &self.source)?;
        {
            let mut scaled = VideoFrameRef::from_buffer_ref_writable(self.scratch.make_mut(), &self.scaled)?;
            self.converter.frame_ref(&source, &mut scaled);
        }
        let scaled = VideoFrameRef::from_buffer_ref_readable(&self.scratch, &self.scaled)?;
        self.place(&scaled)
    }

    /// Turns the scaled frame upright, and puts it into a black picture.
    fn place(&self, scaled: &VideoFrameRef<&gst::BufferRef>) -> Result<Vec<u8>, gst::glib::BoolError> {
        let black = [if self.color.full_range { 0 } else { 16 }, 128, 128];
        let mut picture = Vec::with_capacity(self.picture.i420_len().unwrap_or_default());
        for (plane, black) in (0..3).zip(black) {
            let shift = if plane == 0 { 0 } else { 1 };
            let subsampled = |length: u32| (length as usize).div_ceil(1 << shift);
            let stride = scaled.plane_stride().get(plane as usize).map_or(0, |stride| stride.unsigned_abs() as usize);
            let from = Plane {
                data: scaled.plane_data(plane)?,
                stride,
                width: subsampled(self.scaled.width()),
                height: subsampled(self.scaled.height()),
            };
            let row_length = subsampled(self.picture.width);
            let start = picture.len();
            picture.resize(start + row_length * subsampled(self.picture.height), black);
            let Letterbox { left, top, content, .. } = self.letterbox;
            let left = left as usize >> shift;
            let rows = picture[start..].chunks_exact_mut(row_length).skip(top as usize >> shift).take(subsampled(content.height));
            for (y, row) in rows.enumerate() {
                from.copy_row(self.orientation, y, &mut row[left..left + subsampled(content.width)]);
            }
        }
        Ok(picture)
    }
}

/// One plane of a frame that is not turned yet.
struct Plane<'a> {
    data: &'a [u8],
    stride: usize,
    width: usize,
    height: usize,
}

impl Plane<'_> {
    /// Fills `row` with the upright row `y`.
    fn copy_row(&self, orientation: Orientation, y: usize, row: &mut [u8]) {
        if orientation.is_upright() {
            let start = y * self.stride;
            row.copy_from_slice(&self.data[start..start + row.len()]);
            return;
        }
        for (x, value) in row.iter_mut().enumerate() {
            let (column, line) = orientation.stored(x, y, self.width, self.height);
            *value = self.data[line * self.stride + column];
        }
    }
}

use std::fs::File;
use std::io::BufReader;

use gstreamer as gst;
use gstreamer_video::{VideoFormat, VideoInfo};
use image::codecs::{bmp::BmpDecoder, gif::GifDecoder, tiff::TiffDecoder, webp::WebPDecoder};
use image::metadata::Orientation as Turned;
use image::{AnimationDecoder, DynamicImage, ImageDecoder, ImageError, Limits, RgbaImage};
use moliceiro_messages::Size;

use super::error::DecodeError;
use super::file::LocalFile;
use super::geometry::Orientation;
use super::output::RawFrame;
use super::watch;

/// What decoding one image may take in memory, in bytes: the largest that is allowed, with 16 bits
/// a value.
const MOST_MEMORY: u64 = 1 << 30;
/// How long a frame is shown whose file says a hundredth of a second or nothing: what browsers make
/// of it, in nanoseconds.
const USUAL_LENGTH: u64 = 100_000_000;
const SHORTEST_LENGTH: u64 = 10_000_000;

/// Formats that are read without GStreamer.
///
/// GStreamer 1.22 feeds its decoders of BMP and TIFF with pieces of a file, which they cannot use;
/// an animated GIF never ends there, and an animated WebP is one frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Bmp,
    Gif,
    Tiff,
    WebP,
}

impl Format {
    /// The format of a file that begins with these bytes.
    pub(super) fn of(start: &[u8]) -> Option<Self> {
        match start {
            [b'B', b'M', ..] => Some(Self::Bmp),
            [b'G', b'I', b'F', b'8', ..] => Some(Self::Gif),
            [b'I', b'I', 42, 0, ..] | [b'M', b'M', 0, 42, ..] => Some(Self::Tiff),
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some(Self::WebP),
            _ => None,
        }
    }
}

/// One frame of such a file.
pub(super) struct Image {
    buffer: gst::Buffer,
    info: VideoInfo,
    orientation: Orientation,
    pts: u64,
    length: Option<u64>,
}

impl Image {
    fn new(
        pixels: RgbaImage,
        orientation: Orientation,
        pts: u64,
        length: Option<u64>,
    ) -> Result<Self, gst::glib::BoolError> {
        let info =
            VideoInfo::builder(VideoFormat::Rgba, pixels.width(), pixels.height()).build()?;
        Ok(Self {
            buffer: gst::Buffer::from_mut_slice(pixels.into_raw()),
            info,
            orientation,
            pts,
            length,
        })
    }

    pub(super) fn frame(&self) -> RawFrame<'_> {
        let Self { ref buffer, ref info, orientation, pts, length } = *self;
        RawFrame { buffer, info: info.clone(), orientation, pts: Some(pts), length }
    }
}

/// The frames of a file, in their order.
pub(super) type Images = Box<dyn Iterator<Item = Result<Image, DecodeError>>>;

/// Opens a file. Of a TIFF, only the first page is a frame.
pub(super) fn open(file: &LocalFile, format: Format) -> Result<Images, DecodeError> {
    let name = file.name.clone();
    let failed = |error: ImageError| explain(&name, &error);
    let reader = BufReader::new(File::open(&file.path).map_err(|error| {
        DecodeError::NotReadable { path: name.clone(), reason: error.to_string() }
    })?);
    match format {
        Format::Bmp => still(&name, BmpDecoder::new(reader).map_err(failed)?),
        Format::Tiff => still(&name, TiffDecoder::new(reader).map_err(failed)?),
        Format::Gif => animation(&name, GifDecoder::new(reader).map_err(failed)?),
        Format::WebP => {
            let decoder = WebPDecoder::new(reader).map_err(failed)?;
            if decoder.has_animation() { animation(&name, decoder) } else { still(&name, decoder) }
        }
    }
}

fn still(name: &str, mut decoder: impl ImageDecoder) -> Result<Images, DecodeError> {
    limit(name, &mut decoder)?;
    let failed = |error: ImageError| explain(name, &error);
    let orientation = turned(decoder.orientation().map_err(failed)?);
    let pixels = DynamicImage::from_decoder(decoder).map_err(failed)?.into_rgba8();
    let image =
        Image::new(pixels, orientation, 0, None).map_err(|error| broken(name, error.to_string()));
    Ok(Box::new(std::iter::once(image)))
}

fn animation(
    name: &str,
    mut decoder: impl ImageDecoder + AnimationDecoder<'static> + 'static,
) -> Result<Images, DecodeError> {
    limit(name, &mut decoder)?;
    let (name, mut pts) = (name.to_owned(), 0u64);
    let mut frames = decoder.into_frames();
    let mut is_broken = false;
    Ok(Box::new(std::iter::from_fn(move || {
        let frame = frames.next().filter(|_| !is_broken)?.map_err(|error| explain(&name, &error));
        let image = frame.and_then(|frame| {
            let (start, length) = (pts, length_of(&frame));
            pts = pts.saturating_add(length);
            Image::new(frame.into_buffer(), Orientation::default(), start, Some(length))
                .map_err(|error| broken(&name, error.to_string()))
        });
        is_broken = image.is_err();
        Some(image)
    })))
}

fn length_of(frame: &image::Frame) -> u64 {
    let (numerator, denominator) = frame.delay().numer_denom_ms();
    let length = u64::from(numerator) * 1_000_000 / u64::from(denominator.max(1));
    if length <= SHORTEST_LENGTH { USUAL_LENGTH } else { length }
}

fn limit(name: &str, decoder: &mut impl ImageDecoder) -> Result<(), DecodeError> {
    let (width, height) = decoder.dimensions();
    if !watch::is_reasonable(Size { width, height }) {
        return Err(DecodeError::TooLarge { video: name.to_owned(), width, height });
    }
    let mut limits = Limits::default();
    limits.max_alloc = Some(MOST_MEMORY);
    decoder.set_limits(limits).map_err(|error| explain(name, &error))
}

/// Exif 2.32, 4.6.4, as the tag of a TIFF or WebP has it.
fn turned(orientation: Turned) -> Orientation {
    use gstreamer_video::VideoOrientationMethod as Method;
    Orientation::from_method(match orientation {
        Turned::NoTransforms => Method::Identity,
        Turned::Rotate90 => Method::_90r,
        Turned::Rotate180 => Method::_180,
        Turned::Rotate270 => Method::_90l,
        Turned::FlipHorizontal => Method::Horiz,
        Turned::FlipVertical => Method::Vert,
        Turned::Rotate90FlipH => Method::UlLr,
        Turned::Rotate270FlipH => Method::UrLl,
    })
}

fn broken(name: &str, reason: String) -> DecodeError {
    DecodeError::Damaged { video: name.to_owned(), reason }
}

fn explain(name: &str, error: &ImageError) -> DecodeError {
    match error {
        ImageError::Unsupported(_) => DecodeError::UnknownFormat { video: name.to_owned() },
        error => broken(name, error.to_string().lines().next().unwrap_or_default().to_owned()),
    }
}

use std::fs::File;
use std::io::BufReader;

use gstreamer as gst;
use gstreamer_video::{VideoFormat, VideoInfo};
use image::codecs::{bmp::BmpDecoder, gif::GifDecoder, tiff::TiffDecoder, webp::WebPDecoder};
use image::metadata::Orientation as ExifOrientation;
use image::{AnimationDecoder, DynamicImage, ImageDecoder, ImageError, Limits, RgbaImage};
use moliceiro_messages::Size;

use crate::error::DecodeError;
use crate::file::LocalFile;
use crate::format::ImageFormat;
use crate::geometry::Orientation;
use crate::limits::is_within_limits;
use crate::raw_frame::RawFrame;

/// Memory that decoding one image may take, in bytes: the largest frame within the limits, with 16
/// bits a value.
const MAX_MEMORY: u64 = 1 << 30;
/// Browsers show a frame for this long if its file says a hundredth of a second or less. In
/// nanoseconds.
const DEFAULT_LENGTH: u64 = 100_000_000;
const MIN_LENGTH: u64 = 10_000_000;

/// The frames of a file, in their order.
pub(crate) type Frames = Box<dyn Iterator<Item = Result<RawFrame, DecodeError>>>;

/// Opens a file. Only the first page of a TIFF is a frame.
pub(crate) fn open(file: &LocalFile, format: ImageFormat) -> Result<Frames, DecodeError> {
    let name = file.name.clone();
    let failed = |error: ImageError| explain(&name, &error);
    let reader = BufReader::new(File::open(&file.path).map_err(|error| {
        DecodeError::NotReadable { path: name.clone(), reason: error.to_string() }
    })?);
    match format {
        ImageFormat::Bmp => single(&name, BmpDecoder::new(reader).map_err(failed)?),
        ImageFormat::Tiff => single(&name, TiffDecoder::new(reader).map_err(failed)?),
        ImageFormat::Gif => animation(&name, GifDecoder::new(reader).map_err(failed)?),
        ImageFormat::WebP => {
            let decoder = WebPDecoder::new(reader).map_err(failed)?;
            if decoder.has_animation() { animation(&name, decoder) } else { single(&name, decoder) }
        }
    }
}

fn single(name: &str, mut decoder: impl ImageDecoder) -> Result<Frames, DecodeError> {
    limit(name, &mut decoder)?;
    let failed = |error: ImageError| explain(name, &error);
    let orientation = orientation(decoder.orientation().map_err(failed)?);
    let pixels = DynamicImage::from_decoder(decoder).map_err(failed)?.into_rgba8();
    let frame =
        frame(pixels, orientation, 0, None).map_err(|error| damaged(name, error.to_string()));
    Ok(Box::new(std::iter::once(frame)))
}

fn animation(
    name: &str,
    mut decoder: impl ImageDecoder + AnimationDecoder<'static> + 'static,
) -> Result<Frames, DecodeError> {
    limit(name, &mut decoder)?;
    let (name, mut pts) = (name.to_owned(), 0u64);
    let mut frames = decoder.into_frames();
    let mut is_broken = false;
    Ok(Box::new(std::iter::from_fn(move || {
        let image = frames.next().filter(|_| !is_broken)?.map_err(|error| explain(&name, &error));
        let raw = image.and_then(|image| {
            let (start, length) = (pts, length_of(&image));
            pts = pts.saturating_add(length);
            frame(image.into_buffer(), Orientation::default(), start, Some(length))
                .map_err(|error| damaged(&name, error.to_string()))
        });
        is_broken = raw.is_err();
        Some(raw)
    })))
}

fn frame(
    pixels: RgbaImage,
    orientation: Orientation,
    pts: u64,
    length: Option<u64>,
) -> Result<RawFrame, gst::glib::BoolError> {
    let info = VideoInfo::builder(VideoFormat::Rgba, pixels.width(), pixels.height()).build()?;
    let buffer = gst::Buffer::from_mut_slice(pixels.into_raw());
    let shown = Size { width: info.width(), height: info.height() };
    Ok(RawFrame { buffer, info, shown, orientation, field: None, pts: Some(pts), length })
}

/// Display time, in nanoseconds.
fn length_of(image: &image::Frame) -> u64 {
    let (numerator, denominator) = image.delay().numer_denom_ms();
    let length = u64::from(numerator) * 1_000_000 / u64::from(denominator.max(1));
    if length <= MIN_LENGTH { DEFAULT_LENGTH } else { length }
}

fn limit(name: &str, decoder: &mut impl ImageDecoder) -> Result<(), DecodeError> {
    let (width, height) = decoder.dimensions();
    if !is_within_limits(Size { width, height }) {
        return Err(DecodeError::TooLarge { video: name.to_owned(), width, height });
    }
    let mut limits = Limits::default();
    limits.max_alloc = Some(MAX_MEMORY);
    decoder.set_limits(limits).map_err(|error| explain(name, &error))
}

/// The orientation tag of a TIFF or WebP (Exif 2.32, 4.6.4).
fn orientation(orientation: ExifOrientation) -> Orientation {
    use gstreamer_video::VideoOrientationMethod as Method;
    Orientation::from_method(match orientation {
        ExifOrientation::NoTransforms => Method::Identity,
        ExifOrientation::Rotate90 => Method::_90r,
        ExifOrientation::Rotate180 => Method::_180,
        ExifOrientation::Rotate270 => Method::_90l,
        ExifOrientation::FlipHorizontal => Method::Horiz,
        ExifOrientation::FlipVertical => Method::Vert,
        ExifOrientation::Rotate90FlipH => Method::UlLr,
        ExifOrientation::Rotate270FlipH => Method::UrLl,
    })
}

fn damaged(name: &str, reason: String) -> DecodeError {
    DecodeError::Damaged { video: name.to_owned(), reason }
}

fn explain(name: &str, error: &ImageError) -> DecodeError {
    match error {
        ImageError::Unsupported(_) => DecodeError::UnknownFormat { video: name.to_owned() },
        error => damaged(name, error.to_string().lines().next().unwrap_or_default().to_owned()),
    }
}

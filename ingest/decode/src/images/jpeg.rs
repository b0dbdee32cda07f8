//! JPEG (ITU-T T.81). A file may hold more pictures than the first one: a stereo pair (MPO), a
//! gain map, a thumbnail.

use std::io::Cursor;
use std::path::Path;

use gstreamer as gst;
use gstreamer_video::{VideoFormat, VideoFrameExt, VideoFrameRef};
use moliceiro_messages::Size;
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::packets::{self, Choice};
use super::pixels::Pixels;
use super::{Context, Image, exif};
use crate::error::{DecodeError, Incomplete};
use crate::geometry::Orientation;
use crate::raw_frame::RawFrame;

const DECODERS: [Choice; 2] = [
    Choice { element: "jpegdec", package: "gstreamer1.0-plugins-good" },
    Choice { element: "avdec_mjpeg", package: "gstreamer1.0-libav" },
];
/// Names of files that hold a still, whatever follows its first picture.
const STILLS: [&str; 8] = ["jfi", "jfif", "jif", "jpe", "jpeg", "jpg", "jps", "mpo"];
const END: [u8; 2] = [0xff, 0xd9];
/// What libjpeg makes of data that is missing.
const GREY: u8 = 128;

/// The first picture of a file.
#[derive(Debug, Default, PartialEq, Eq)]
struct Scanned {
    /// The marker of its frame header, which names the process.
    process: u8,
    width: u32,
    height: u32,
    orientation: Orientation,
    /// Whether it says that other pictures belong to it.
    has_companions: bool,
    /// Where it ends; `None` if its end is missing.
    end: Option<usize>,
}

/// Whether the file is a video: pictures of one size that follow each other.
pub(super) fn is_video(bytes: &[u8], name: &str) -> bool {
    let extension = Path::new(name).extension().map(|extension| extension.to_ascii_lowercase());
    if extension.is_some_and(|extension| STILLS.iter().any(|still| extension == *still)) {
        return false;
    }
    let first = scan(bytes);
    let Some(rest) = first.end.and_then(|end| bytes.get(end..)) else { return false };
    if first.has_companions || !rest.starts_with(&[0xff, 0xd8, 0xff]) {
        return false;
    }
    let second = scan(rest);
    (second.width, second.height) == (first.width, first.height)
}

/// The first picture, or what is there of it.
pub(super) fn decode(mut bytes: Vec<u8>, context: &Context) -> Result<Image, DecodeError> {
    let scanned = scan(&bytes);
    let Scanned { width, height, orientation, .. } = scanned;
    if scanned.process == 0 {
        return Err(context.damaged("its header is unreadable"));
    }
    let size = context.limit(width, height)?;
    match scanned.end {
        Some(end) => bytes.truncate(end),
        None => bytes.extend_from_slice(&END),
    }
    let decoder = packets::choose(&DECODERS, "a JPEG", context)?;
    let caps = gst::Caps::builder("image/jpeg")
        .field("parsed", true)
        .field("sof-marker", i32::from(scanned.process & 0xf))
        .field("width", width.cast_signed())
        .field("height", height.cast_signed())
        .field("framerate", gst::Fraction::new(1, 1))
        .build();
    let decoded = packets::decode_one(&caps, &[decoder], bytes.clone(), context);
    let frame = match decoded {
        Ok(frame) => frame,
        // Four components (CMYK), and other rare kinds.
        Err(error) => return rare(&bytes, &scanned, size, context).ok_or(error),
    };
    let missing = scanned.end.is_none().then(|| truncated(&frame, size));
    Ok(Image { frame: RawFrame { orientation, ..frame }, missing })
}

fn rare(bytes: &[u8], scanned: &Scanned, size: Size, context: &Context) -> Option<Image> {
    let options = DecoderOptions::default()
        .set_max_width(1 << 16)
        .set_max_height(1 << 16)
        .jpeg_set_out_colorspace(ColorSpace::RGB);
    let packed = JpegDecoder::new_with_options(Cursor::new(bytes), options).decode().ok()?;
    let mut pixels = Pixels::new(VideoFormat::Rgb, size, context).ok()?;
    pixels.fill(&packed);
    let missing = scanned.end.is_none().then_some(Incomplete::PictureTruncated { missing: None });
    Some(pixels.into_image(scanned.orientation, missing))
}

/// Counts the rows at the bottom that hold nothing.
fn truncated(frame: &RawFrame, size: Size) -> Incomplete {
    let unknown = Incomplete::PictureTruncated { missing: None };
    let Ok(view) = VideoFrameRef::from_buffer_ref_readable(&frame.buffer, &frame.info) else {
        return unknown;
    };
    let (Ok(luma), Some(stride)) = (view.plane_data(0), view.plane_stride().first()) else {
        return unknown;
    };
    if !frame.info.is_yuv() && !frame.info.is_gray() {
        return unknown;
    }
    let stride = stride.unsigned_abs() as usize;
    let (width, height) = (size.width as usize, size.height as usize);
    let rows = luma.chunks(stride).take(height).collect::<Vec<_>>();
    let grey = rows
        .iter()
        .rev()
        .take_while(|row| row.iter().take(width).all(|value| *value == GREY))
        .count();
    match u32::try_from(grey) {
        Ok(grey) if grey > 0 => Incomplete::PictureTruncated { missing: Some((grey, size.height)) },
        _ => unknown,
    }
}

/// Reads the markers of the first picture.
fn scan(bytes: &[u8]) -> Scanned {
    let mut found = Scanned::default();
    let mut at = 2;
    while let Some(code) = next_marker(bytes, &mut at) {
        match code {
            0xd9 => {
                found.end = Some(at);
                return found;
            }
            // Without a length: TEM, restarts, and the start of a picture.
            0x01 | 0xd0..=0xd8 => continue,
            _ => {}
        }
        let Some(segment) = bytes
            .get(at..at + 2)
            .map(|length| usize::from(u16::from_be_bytes([length[0], length[1]])))
            .and_then(|length| bytes.get(at + 2..at + length.max(2)))
        else {
            return found;
        };
        at += 2 + segment.len();
        match (code, segment) {
            (0xc0..=0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf, &[_, a, b, c, d, ..]) => {
                found.process = code;
                found.height = u16::from_be_bytes([a, b]).into();
                found.width = u16::from_be_bytes([c, d]).into();
            }
            (0xe1, segment) if segment.starts_with(b"Exif\0\0") => {
                found.orientation = exif::orientation(segment);
            }
            (0xe2, segment) if segment.starts_with(b"MPF\0") => found.has_companions = true,
            _ => {}
        }
    }
    found
}

/// The next marker at or after `at`, which is then behind it. In front of it may be compressed
/// data, where 0xff is followed by 0.
fn next_marker(bytes: &[u8], at: &mut usize) -> Option<u8> {
    loop {
        let rest = bytes.get(*at..)?;
        *at += rest.iter().position(|byte| *byte == 0xff)? + 1;
        while *bytes.get(*at)? == 0xff {
            *at += 1;
        }
        let code = bytes[*at];
        *at += 1;
        if code != 0 && !(0xd0..=0xd7).contains(&code) {
            return Some(code);
        }
    }
}

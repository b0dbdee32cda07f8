//! Pictures and animations: their files are read here, and each gives frames.

use std::fs::File;
use std::io::Read;
use std::time::Duration;

use gstreamer as gst;
use moliceiro_messages::Size;

use crate::error::{DecodeError, Incomplete};
use crate::file::{LocalFile, unreadable};
use crate::format::ImageFormat;
use crate::limits::is_within_limits;
use crate::raw_frame::RawFrame;

mod animation;
mod bmp;
mod canvas;
mod exif;
mod gif;
mod heif;
mod jpeg;
mod jpeg2000;
mod packets;
mod pixels;
mod png;
mod pnm;
mod reduced;
mod sequence;
mod tiff;
mod webp;

pub(crate) use sequence::as_video;

/// Memory that decoding one image may take, in bytes: the largest frame within the limits, with 16
/// bits a value.
const MAX_MEMORY: usize = 1 << 30;
/// How much of a file is read into memory. A picture within the limits has fewer bytes.
const MAX_FILE: u64 = 1 << 29;

/// A frame of a picture or an animation.
pub(crate) struct Image {
    pub(crate) frame: RawFrame,
    /// What is missing of it.
    pub(crate) missing: Option<Incomplete>,
}

/// The frames of a file, in their order.
pub(crate) type Frames = Box<dyn Iterator<Item = Result<Image, DecodeError>>>;

/// What a file is.
pub(crate) enum Opened {
    Frames(Frames),
    /// Many JPEGs, one after the other: a video.
    MotionJpeg,
}

/// Opens a file. Only the first page of a TIFF is a frame, and the first picture of a JPEG.
/// `timeout` is for each frame that GStreamer decodes, and `picture` is the size of the pictures
/// that are made of the frames.
pub(crate) fn open(
    file: &LocalFile,
    format: ImageFormat,
    timeout: Duration,
    picture: Option<Size>,
) -> Result<Opened, DecodeError> {
    let context = Context { name: file.name.clone(), timeout, picture };
    let image = match format {
        ImageFormat::Gif => return gif::open(file, context).map(Opened::Frames),
        ImageFormat::Png => return png::open(file, context).map(Opened::Frames),
        ImageFormat::WebP => return webp::open(file, context).map(Opened::Frames),
        ImageFormat::Jpeg => {
            let bytes = context.read(file)?;
            if jpeg::is_video(&bytes, &file.name) {
                return Ok(Opened::MotionJpeg);
            }
            jpeg::decode(bytes, &context)?
        }
        ImageFormat::Bmp => bmp::decode(context.read(file)?, &context)?,
        ImageFormat::Heif => heif::decode(file, &context)?,
        ImageFormat::Jpeg2000 => jpeg2000::decode(context.read(file)?, &context)?,
        ImageFormat::Pnm => pnm::decode(context.read(file)?, &context)?,
        ImageFormat::Tiff => tiff::decode(file, &context)?,
    };
    Ok(Opened::Frames(Box::new(std::iter::once(Ok(image)))))
}

/// The first frame of a file, as a picture.
pub(crate) fn first(
    file: &LocalFile,
    format: ImageFormat,
    timeout: Duration,
) -> Result<Image, DecodeError> {
    let context = Context { name: file.name.clone(), timeout, picture: None };
    let no_frames = || DecodeError::NoFrames { video: file.name.clone() };
    if format == ImageFormat::Jpeg {
        return jpeg::decode(context.read(file)?, &context);
    }
    match open(file, format, timeout, None)? {
        Opened::Frames(mut frames) => frames.next().ok_or_else(no_frames)?,
        Opened::MotionJpeg => Err(no_frames()),
    }
}

/// How decoders of pictures say that the file has no more bytes.
const ENDS_EARLY: [&str; 4] =
    ["unexpected end of file", "unexpected eof", "failed to fill whole buffer", "not enough bytes"];

/// What errors and timeouts of a file need.
struct Context {
    name: String,
    timeout: Duration,
    /// Size of the pictures that are made of an animation.
    picture: Option<Size>,
}

impl Context {
    fn open(&self, file: &LocalFile) -> Result<File, DecodeError> {
        File::open(&file.path).map_err(|error| unreadable(&self.name, &error))
    }

    fn read(&self, file: &LocalFile) -> Result<Vec<u8>, DecodeError> {
        let mut bytes = Vec::new();
        let read = self.open(file)?.take(MAX_FILE).read_to_end(&mut bytes);
        read.map_err(|error| unreadable(&self.name, &error))?;
        Ok(bytes)
    }

    /// Refuses what exceeds the limits, before it is decoded.
    fn limit(&self, width: u32, height: u32) -> Result<Size, DecodeError> {
        let size = Size { width, height };
        if !is_within_limits(size) {
            return Err(DecodeError::TooLarge { video: self.name.clone(), width, height });
        }
        if width == 0 || height == 0 {
            return Err(self.damaged("it has no rows or columns"));
        }
        Ok(size)
    }

    fn damaged(&self, reason: impl ToString) -> DecodeError {
        let reason = reason.to_string();
        let ends = ENDS_EARLY.iter().any(|text| reason.to_lowercase().contains(text));
        let reason = if ends { "its data ends too early" } else { &reason };
        let reason = reason.lines().next().unwrap_or_default().trim_end_matches('.').to_owned();
        DecodeError::Damaged { video: self.name.clone(), reason }
    }

    fn unsupported(&self, format: impl Into<String>) -> DecodeError {
        DecodeError::UnsupportedPicture {
            video: self.name.clone(),
            format: format.into(),
            advice: "save it as JPEG or PNG".into(),
        }
    }

    fn gstreamer(&self, error: &gst::glib::BoolError) -> DecodeError {
        DecodeError::Failed { video: self.name.clone(), reason: error.to_string() }
    }
}

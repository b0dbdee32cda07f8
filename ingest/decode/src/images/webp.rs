use std::io::Cursor;

use gstreamer_video::VideoFormat;
use image_webp::{DecodingError, WebPDecoder};
use moliceiro_messages::Size;

use super::animation::{self, Animated};
use super::canvas::{Blend, Canvas, Disposal, Rectangle};
use super::pixels::Pixels;
use super::{Context, Frames, Image, MAX_MEMORY, exif};
use crate::error::DecodeError;
use crate::file::LocalFile;

pub(super) fn open(file: &LocalFile, context: Context) -> Result<Frames, DecodeError> {
    let bytes = context.read(file)?;
    match animated_size(&bytes) {
        Some((width, height)) => {
            let size = context.limit(width, height)?;
            let canvas = Canvas::new(size, &context)?;
            let pixels = u64::from(size.width) * u64::from(size.height);
            let animated = WebP { bytes, at: 12, drawn: 0 };
            Ok(animation::frames(animated, canvas, pixels, context))
        }
        None => {
            let image = still(&bytes, &context)?;
            Ok(Box::new(std::iter::once(Ok(image))))
        }
    }
}

fn still(bytes: &[u8], context: &Context) -> Result<Image, DecodeError> {
    let failed = |error| explain(error, context);
    let mut decoder = WebPDecoder::new(Cursor::new(bytes)).map_err(failed)?;
    let (width, height) = decoder.dimensions();
    let size = context.limit(width, height)?;
    decoder.set_memory_limit(MAX_MEMORY);
    let exif = decoder.exif_metadata().ok().flatten();
    let orientation = exif.as_deref().map(exif::orientation).unwrap_or_default();
    let (packed, format) = read(&mut decoder, context)?;
    let mut pixels = Pixels::new(format, size, context)?;
    pixels.fill(&packed);
    Ok(pixels.into_image(orientation, None))
}

fn read(
    decoder: &mut WebPDecoder<Cursor<&[u8]>>,
    context: &Context,
) -> Result<(Vec<u8>, VideoFormat), DecodeError> {
    let format = if decoder.has_alpha() { VideoFormat::Rgba } else { VideoFormat::Rgb };
    let length = decoder.output_buffer_size().unwrap_or(usize::MAX);
    if length > MAX_MEMORY {
        return Err(context.damaged("it needs too much memory"));
    }
    let mut packed = vec![0; length];
    decoder.read_image(&mut packed).map_err(|error| explain(error, context))?;
    Ok((packed, format))
}

/// An animated WebP (RFC 9649, 2.7). Each frame is a WebP of its own.
struct WebP {
    bytes: Vec<u8>,
    /// Where the next chunk starts.
    at: usize,
    drawn: u64,
}

impl WebP {
    /// The data of the next frame's chunk.
    fn next_frame(&mut self, context: &Context) -> Result<Option<(usize, usize)>, DecodeError> {
        loop {
            let at = self.at;
            if at + 8 > self.bytes.len() {
                let end = riff_end(&self.bytes);
                return if self.bytes.len() < end {
                    let missing = end - self.bytes.len();
                    Err(context.damaged(format!("its last {missing} bytes are missing")))
                } else {
                    Ok(None)
                };
            }
            let length = u32_at(&self.bytes, at + 4);
            let start = at + 8;
            let end = start.saturating_add(length);
            self.at = end.saturating_add(length & 1);
            if self.bytes[at..at + 4] == *b"ANMF" {
                if end > self.bytes.len() {
                    let missing = end - self.bytes.len();
                    return Err(context.damaged(format!("its last {missing} bytes are missing")));
                }
                return Ok(Some((start, end)));
            }
        }
    }
}

impl Animated for WebP {
    fn draw(&mut self, canvas: &mut Canvas, context: &Context) -> Result<Option<u64>, DecodeError> {
        let Some((start, end)) = self.next_frame(context)? else {
            return if self.drawn == 0 {
                Err(context.damaged("it has no frames"))
            } else {
                Ok(None)
            };
        };
        let frame = &self.bytes[start..end];
        let Some((head, chunks)) = frame.split_at_checked(16) else {
            return Err(context.damaged("a frame has no header"));
        };
        let rectangle = Rectangle {
            left: u24(head, 0) * 2,
            top: u24(head, 3) * 2,
            width: u24(head, 6) + 1,
            height: u24(head, 9) + 1,
        };
        context.limit(rectangle.width, rectangle.height)?;
        let alone = file_of(chunks, Size { width: rectangle.width, height: rectangle.height });
        let decoder = WebPDecoder::new(Cursor::new(alone.as_slice()));
        let mut decoder = decoder.map_err(|error| explain(error, context))?;
        decoder.set_memory_limit(MAX_MEMORY);
        if decoder.dimensions() != (rectangle.width, rectangle.height) {
            return Err(context.damaged("a frame does not have the size of its header"));
        }
        let (packed, format) = read(&mut decoder, context)?;
        let pixels = match format {
            VideoFormat::Rgba => packed,
            _ => packed.as_chunks::<3>().0.iter().flat_map(|[r, g, b]| [*r, *g, *b, 255]).collect(),
        };
        let blend = if head[15] & 2 == 0 { Blend::Over } else { Blend::Replace };
        let disposal = if head[15] & 1 == 0 { Disposal::Keep } else { Disposal::Clear };
        let drawn = canvas.draw(rectangle, &pixels, blend, disposal);
        drawn.map_err(|error| context.gstreamer(&error))?;
        self.drawn += 1;
        Ok(Some(u64::from(u24(head, 12)) * 1_000_000))
    }

    fn is_still(&mut self) -> bool {
        let mut at = self.at;
        while at + 8 <= self.bytes.len() {
            if self.bytes[at..at + 4] == *b"ANMF" {
                return false;
            }
            let length = u32_at(&self.bytes, at + 4);
            at = at.saturating_add(8).saturating_add(length).saturating_add(length & 1);
        }
        self.bytes.len() >= riff_end(&self.bytes)
    }
}

/// Canvas of an animation (RFC 9649, 2.7.1); `None` for a still.
fn animated_size(bytes: &[u8]) -> Option<(u32, u32)> {
    let extended = bytes.get(12..30).filter(|bytes| bytes.starts_with(b"VP8X"))?;
    (extended[8] & 2 != 0).then(|| (u24(extended, 12) + 1, u24(extended, 15) + 1))
}

/// A file with the chunks of one frame.
fn file_of(chunks: &[u8], size: Size) -> Vec<u8> {
    let has_alpha = chunks.starts_with(b"ALPH");
    let mut file = Vec::with_capacity(chunks.len() + 30);
    file.extend_from_slice(b"RIFF\0\0\0\0WEBP");
    if has_alpha {
        file.extend_from_slice(b"VP8X\x0a\0\0\0\x10\0\0\0");
        file.extend_from_slice(&(size.width - 1).to_le_bytes()[..3]);
        file.extend_from_slice(&(size.height - 1).to_le_bytes()[..3]);
    }
    file.extend_from_slice(chunks);
    let length = u32::try_from(file.len() - 8).unwrap_or(u32::MAX);
    file[4..8].copy_from_slice(&length.to_le_bytes());
    file
}

/// Where the file ends, according to its first chunk.
fn riff_end(bytes: &[u8]) -> usize {
    u32_at(bytes, 4).saturating_add(8)
}

/// A little-endian number; 0 past the end.
fn u32_at(bytes: &[u8], at: usize) -> usize {
    let number = bytes.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
    number.map_or(0, |number| u32::from_le_bytes(number) as usize)
}

fn u24(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], 0])
}

fn explain(error: DecodingError, context: &Context) -> DecodeError {
    match error {
        DecodingError::UnsupportedFeature(feature) => {
            context.unsupported(format!("a WebP with an unusual feature ({feature})"))
        }
        error => context.damaged(error),
    }
}

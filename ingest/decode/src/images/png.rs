use std::fs::File;
use std::io::{BufReader, Read, Seek};

use gstreamer_video::VideoFormat;
use moliceiro_messages::Size;
use png::{
    BitDepth, BlendOp, ColorType, Decoder, DisposeOp, InterlaceInfo, Limits, Reader,
    Transformations, expand_interlaced_row,
};

use super::animation::{self, Animated};
use super::canvas::{Blend, Canvas, Disposal, Rectangle};
use super::pixels::Pixels;
use super::{Context, Frames, Image, MAX_MEMORY, exif};
use crate::error::{DecodeError, Incomplete};
use crate::file::LocalFile;

type PngReader = Reader<BufReader<File>>;

pub(super) fn open(file: &LocalFile, context: Context) -> Result<Frames, DecodeError> {
    let mut opened = context.open(file)?;
    declared_size(&mut opened)
        .map_or(Ok(()), |(width, height)| context.limit(width, height).map(drop))?;
    let mut decoder =
        Decoder::new_with_limits(BufReader::new(opened), Limits { bytes: MAX_MEMORY });
    // Texts and profiles may expand to any length.
    decoder.set_ignore_text_chunk(true);
    decoder.set_ignore_iccp_chunk(true);
    decoder.set_transformations(Transformations::normalize_to_color8());
    let size = {
        let info = decoder.read_header_info().map_err(|error| context.damaged(error))?;
        context.limit(info.width, info.height)?
    };
    let reader = decoder.read_info().map_err(|error| context.damaged(error))?;
    let frames = reader.info().animation_control().map_or(1, |control| control.num_frames);
    if frames <= 1 {
        let image = still(reader, size, &context)?;
        return Ok(Box::new(std::iter::once(Ok(image))));
    }
    let canvas = Canvas::new(size, &context)?;
    let animated = Apng { reader, left: frames, packed: Vec::new(), pixels: Vec::new() };
    let pixels = u64::from(size.width) * u64::from(size.height);
    Ok(animation::frames(animated, canvas, pixels, context))
}

/// The size in the header, which the decoder reads only if its checksum is right (PNG
/// specification, 11.2.1).
fn declared_size(file: &mut File) -> Option<(u32, u32)> {
    let mut start = [0; 24];
    let read = file.read_exact(&mut start);
    file.rewind().and(read).ok()?;
    let number = |at: usize| Some(u32::from_be_bytes(start[at..at + 4].try_into().ok()?));
    Some((number(16)?, number(20)?))
}

/// The picture, or as many of its rows as there are.
fn still(mut reader: PngReader, size: Size, context: &Context) -> Result<Image, DecodeError> {
    let (color, depth) = reader.output_color_type();
    if depth != BitDepth::Eight {
        return Err(context.unsupported("a PNG with an unusual number of bits"));
    }
    let format = match color {
        ColorType::Grayscale => VideoFormat::Gray8,
        ColorType::Rgb => VideoFormat::Rgb,
        _ => VideoFormat::Rgba,
    };
    let is_interlaced = reader.info().interlaced;
    let mut pixels = Pixels::new(format, size, context)?;
    let failure = if is_interlaced {
        read_interlaced(&mut reader, &mut pixels, color)
    } else {
        read_rows(&mut reader, &mut pixels, color)
    };
    let missing = match failure {
        None => None,
        Some((0, error)) => return Err(context.damaged(error)),
        Some((_, _)) if is_interlaced => Some(Incomplete::PictureTruncated { missing: None }),
        Some((rows, _)) => Some(Incomplete::PictureTruncated {
            missing: Some((size.height.saturating_sub(rows), size.height)),
        }),
    };
    if missing.is_none() {
        // Exif may follow the pixels. What is wrong there does not matter.
        drop(reader.finish());
    }
    let orientation =
        reader.info().exif_metadata.as_deref().map(exif::orientation).unwrap_or_default();
    Ok(pixels.into_image(orientation, missing))
}

/// Fills the picture; the number of rows before an error, and the error.
fn read_rows(
    reader: &mut PngReader,
    pixels: &mut Pixels,
    color: ColorType,
) -> Option<(u32, png::DecodingError)> {
    for (y, to) in (0..).zip(pixels.rows()) {
        match reader.next_row() {
            Ok(Some(row)) => copy_row(row.data(), to, color),
            Ok(None) => return None,
            Err(error) => return Some((y, error)),
        }
    }
    None
}

fn read_interlaced(
    reader: &mut PngReader,
    pixels: &mut Pixels,
    color: ColorType,
) -> Option<(u32, png::DecodingError)> {
    let samples: u8 = match color {
        ColorType::Grayscale => 1,
        ColorType::Rgb => 3,
        _ => 4,
    };
    let mut wide = Vec::new();
    let (buffer, stride) = pixels.buffer();
    let mut rows = 0;
    loop {
        let row = match reader.next_interlaced_row() {
            Ok(Some(row)) => row,
            Ok(None) => return None,
            Err(error) => return Some((rows, error)),
        };
        let InterlaceInfo::Adam7(pass) = row.interlace() else { return None };
        let data = if color == ColorType::GrayscaleAlpha {
            wide.resize(row.data().len() * 2, 0);
            copy_row(row.data(), &mut wide, color);
            &wide
        } else {
            row.data()
        };
        expand_interlaced_row(buffer, stride, data, pass, samples * 8);
        rows += 1;
    }
}

/// Grey with alpha becomes RGBA.
fn copy_row(from: &[u8], to: &mut [u8], color: ColorType) {
    if color == ColorType::GrayscaleAlpha {
        for (to, from) in to.as_chunks_mut::<4>().0.iter_mut().zip(from.as_chunks::<2>().0) {
            *to = [from[0], from[0], from[0], from[1]];
        }
    } else {
        let length = to.len().min(from.len());
        to[..length].copy_from_slice(&from[..length]);
    }
}

/// An animated PNG (PNG specification, third edition, 4.9).
struct Apng {
    reader: PngReader,
    /// Frames that are still to come.
    left: u32,
    packed: Vec<u8>,
    pixels: Vec<u8>,
}

impl Animated for Apng {
    fn draw(&mut self, canvas: &mut Canvas, context: &Context) -> Result<Option<u64>, DecodeError> {
        if self.left == 0 {
            return Ok(None);
        }
        self.packed.resize(self.reader.output_buffer_size().unwrap_or(0), 0);
        if self.reader.info().frame_control().is_none() {
            // The first picture is for programs that do not know animations.
            let skipped = self.reader.next_frame(&mut self.packed);
            skipped.map_err(|error| context.damaged(error))?;
        }
        let output = self.reader.next_frame(&mut self.packed);
        let output = output.map_err(|error| context.damaged(error))?;
        let Some(control) = self.reader.info().frame_control().copied() else {
            return Err(context.damaged("a frame has no control chunk"));
        };
        self.left -= 1;
        let rectangle = Rectangle {
            left: control.x_offset,
            top: control.y_offset,
            width: output.width,
            height: output.height,
        };
        // The rows of an interlaced part are as far from each other as those of the whole.
        let stride = match self.reader.info().interlaced {
            true => self.reader.output_line_size(self.reader.info().width),
            false => Some(output.line_size),
        };
        self.pixels.clear();
        for row in self.packed.chunks(stride.unwrap_or(output.line_size).max(1)) {
            let row = &row[..output.line_size.min(row.len())];
            append_rgba(row, output.color_type, &mut self.pixels);
        }
        let blend = match control.blend_op {
            BlendOp::Source => Blend::Replace,
            BlendOp::Over => Blend::Over,
        };
        let disposal = match control.dispose_op {
            DisposeOp::None => Disposal::Keep,
            DisposeOp::Background => Disposal::Clear,
            DisposeOp::Previous => Disposal::Restore,
        };
        let drawn = canvas.draw(rectangle, &self.pixels, blend, disposal);
        drawn.map_err(|error| context.gstreamer(&error))?;
        let denominator = if control.delay_den == 0 { 100 } else { control.delay_den };
        Ok(Some(u64::from(control.delay_num) * 1_000_000_000 / u64::from(denominator)))
    }

    fn is_still(&mut self) -> bool {
        false
    }
}

fn append_rgba(packed: &[u8], color: ColorType, pixels: &mut Vec<u8>) {
    match color {
        ColorType::Grayscale => pixels.extend(packed.iter().flat_map(|y| [*y, *y, *y, 255])),
        ColorType::GrayscaleAlpha => {
            pixels.extend(packed.as_chunks::<2>().0.iter().flat_map(|[y, a]| [*y, *y, *y, *a]));
        }
        ColorType::Rgb => {
            pixels.extend(packed.as_chunks::<3>().0.iter().flat_map(|[r, g, b]| [*r, *g, *b, 255]));
        }
        _ => pixels.extend_from_slice(packed),
    }
}

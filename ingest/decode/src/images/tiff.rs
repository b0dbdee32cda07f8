//! The first page of a TIFF (TIFF 6.0).

use std::io::BufReader;

use gstreamer as gst;
use gstreamer_video::{VideoFormat, VideoFrameExt, VideoFrameRef};
use moliceiro_messages::Size;
use tiff::decoder::{Decoder, DecodingResult, Limits};
use tiff::tags::Tag;
use tiff::{ColorType, TiffError};

use super::packets::{self, Choice};
use super::pixels::Pixels;
use super::{Context, Image, MAX_MEMORY, exif};
use crate::error::DecodeError;
use crate::file::LocalFile;
use crate::raw_frame::RawFrame;

const DECODERS: [Choice; 1] = [Choice { element: "avdec_tiff", package: "gstreamer1.0-libav" }];

type TiffDecoder = Decoder<BufReader<std::fs::File>>;

pub(super) fn decode(file: &LocalFile, context: &Context) -> Result<Image, DecodeError> {
    let decoder = Decoder::new(BufReader::new(context.open(file)?));
    let mut decoder = decoder.map_err(|error| context.damaged(error))?;
    let mut limits = Limits::default();
    limits.decoding_buffer_size = MAX_MEMORY;
    limits.intermediate_buffer_size = MAX_MEMORY;
    decoder = decoder.with_limits(limits);
    let (width, height) = decoder.dimensions().map_err(|error| context.damaged(error))?;
    let size = context.limit(width, height)?;
    let tag = decoder.find_tag_unsigned::<u16>(Tag::Orientation).ok().flatten();
    let orientation = tag.map(exif::from_tag).unwrap_or_default();
    match read(&mut decoder, size, context) {
        Ok(pixels) => Ok(pixels.into_image(orientation, None)),
        Err(TiffError::UnsupportedError(error)) => {
            // FFmpeg knows other kinds.
            let decoder = packets::choose(&DECODERS, "a TIFF of a rare kind", context)?;
            let caps = gst::Caps::builder("image/tiff")
                .field("framerate", gst::Fraction::new(1, 1))
                .build();
            let frame = packets::decode_one(&caps, &[decoder], context.read(file)?, context);
            match frame {
                Ok(frame) if frame.info.format() == VideoFormat::Rgb8p => {
                    Ok(from_palette(&frame, size, context)?.into_image(orientation, None))
                }
                Ok(frame) => Ok(Image { frame: RawFrame { orientation, ..frame }, missing: None }),
                Err(_) => Err(context.unsupported(format!("a TIFF of a rare kind ({error})"))),
            }
        }
        Err(error) => Err(context.damaged(error)),
    }
}

/// The colours of a picture with a palette: a plane of indexes, and one of 256 colours, each with
/// blue first.
fn from_palette(frame: &RawFrame, size: Size, context: &Context) -> Result<Pixels, DecodeError> {
    let failed = |error| context.gstreamer(&error);
    let view = VideoFrameRef::from_buffer_ref_readable(&frame.buffer, &frame.info);
    let view = view.map_err(failed)?;
    let stride = view.plane_stride()[0].unsigned_abs() as usize;
    let (indexes, palette) = (view.plane_data(0).map_err(failed)?, view.plane_data(1));
    let palette = palette.map_err(failed)?.as_chunks::<4>().0;
    let mut pixels = Pixels::new(VideoFormat::Rgb, size, context)?;
    for (to, from) in pixels.rows().zip(indexes.chunks(stride.max(1))) {
        for (to, index) in to.as_chunks_mut::<3>().0.iter_mut().zip(from) {
            let [b, g, r, _] = palette.get(usize::from(*index)).copied().unwrap_or_default();
            *to = [r, g, b];
        }
    }
    Ok(pixels)
}

fn read(decoder: &mut TiffDecoder, size: Size, context: &Context) -> Result<Pixels, TiffError> {
    let unsupported =
        || TiffError::UnsupportedError(tiff::TiffUnsupportedError::UnknownInterpretation);
    let color = decoder.colortype()?;
    let (from, format): (usize, _) = match color {
        ColorType::Gray(_) => (1, VideoFormat::Gray8),
        ColorType::GrayA(_) => (2, VideoFormat::Rgba),
        ColorType::RGB(_) => (3, VideoFormat::Rgb),
        ColorType::RGBA(_) => (4, VideoFormat::Rgba),
        ColorType::CMYK(_) => (4, VideoFormat::Rgb),
        // Grey with other samples, such as alpha.
        ColorType::Multiband { num_samples, .. } => (num_samples.into(), VideoFormat::Gray8),
        _ => return Err(unsupported()),
    };
    let planes = decoder.find_tag_unsigned::<u16>(Tag::PlanarConfiguration)?;
    if planes == Some(2) && from > 1 {
        return Err(unsupported());
    }
    let samples = to_bytes(decoder.read_image()?, color, size);
    let mut pixels = Pixels::new(format, size, context).map_err(|_| TiffError::IntSizeError)?;
    let row = size.width as usize * from;
    for (to, from) in pixels.rows().zip(samples.chunks_exact(row.max(1))) {
        match color {
            ColorType::GrayA(_) => {
                for (to, [y, a]) in to.as_chunks_mut::<4>().0.iter_mut().zip(from.as_chunks().0) {
                    *to = [*y, *y, *y, *a];
                }
            }
            ColorType::CMYK(_) => {
                for (to, ink) in to.as_chunks_mut::<3>().0.iter_mut().zip(from.as_chunks::<4>().0) {
                    let light = |ink: u8, black: u8| {
                        #[expect(clippy::cast_possible_truncation, reason = "at most 255")]
                        let light = (u16::from(255 - ink) * u16::from(255 - black) / 255) as u8;
                        light
                    };
                    *to = [light(ink[0], ink[3]), light(ink[1], ink[3]), light(ink[2], ink[3])];
                }
            }
            ColorType::Multiband { num_samples, .. } => {
                let each = usize::from(num_samples.max(1));
                to.iter_mut().zip(from.chunks_exact(each)).for_each(|(to, from)| *to = from[0]);
            }
            _ => to.copy_from_slice(from),
        }
    }
    Ok(pixels)
}

/// Samples of eight bits. Floating-point numbers run from 0 to 1.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "shifts and limits leave what fits into a byte"
)]
fn to_bytes(samples: DecodingResult, color: ColorType, size: Size) -> Vec<u8> {
    let light = |value: f64| (value.clamp(0.0, 1.0) * 255.0).round() as u8;
    match samples {
        DecodingResult::U8(values) => match color {
            ColorType::Gray(bits @ (1 | 2 | 4)) => unpack(&values, bits, size),
            _ => values,
        },
        DecodingResult::U16(values) => values.iter().map(|value| (value >> 8) as u8).collect(),
        DecodingResult::U32(values) => values.iter().map(|value| (value >> 24) as u8).collect(),
        DecodingResult::U64(values) => values.iter().map(|value| (value >> 56) as u8).collect(),
        DecodingResult::F16(values) => {
            values.iter().map(|value| light(f64::from(value.to_f32()))).collect()
        }
        DecodingResult::F32(values) => values.iter().map(|value| light((*value).into())).collect(),
        DecodingResult::F64(values) => values.iter().map(|value| light(*value)).collect(),
        DecodingResult::I8(values) => {
            values.iter().map(|value| value.cast_unsigned() ^ 0x80).collect()
        }
        DecodingResult::I16(values) => {
            values.iter().map(|value| ((value >> 8) as u8) ^ 0x80).collect()
        }
        DecodingResult::I32(values) => {
            values.iter().map(|value| ((value >> 24) as u8) ^ 0x80).collect()
        }
        DecodingResult::I64(values) => {
            values.iter().map(|value| ((value >> 56) as u8) ^ 0x80).collect()
        }
    }
}

/// Spreads samples of a few bits, whose rows begin with a new byte.
fn unpack(values: &[u8], bits: u8, size: Size) -> Vec<u8> {
    let width = size.width as usize;
    let each = usize::from(8 / bits);
    let most = (1u16 << bits) - 1;
    let row = width.div_ceil(each);
    values
        .chunks(row.max(1))
        .flat_map(|row| {
            (0..width).map(move |x| {
                let byte = row.get(x / each).copied().unwrap_or_default();
                let shift = 8 - bits as usize * (x % each + 1);
                let value = u16::from(byte >> shift) & most;
                #[expect(clippy::cast_possible_truncation, reason = "at most 255")]
                let light = (value * 255 / most) as u8;
                light
            })
        })
        .collect()
}

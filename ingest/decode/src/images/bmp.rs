use std::io::Cursor;

use gstreamer_video::VideoFormat;
use zune_bmp::BmpDecoder;
use zune_bmp::zune_core::colorspace::ColorSpace;
use zune_bmp::zune_core::options::DecoderOptions;

use super::pixels::Pixels;
use super::{Context, Image};
use crate::error::DecodeError;
use crate::geometry::Orientation;

pub(super) fn decode(bytes: Vec<u8>, context: &Context) -> Result<Image, DecodeError> {
    if let Some((width, height)) = declared_size(&bytes) {
        context.limit(width, height)?;
    }
    let options = DecoderOptions::default().set_max_width(1 << 16).set_max_height(1 << 16);
    let mut decoder = BmpDecoder::new_with_options(Cursor::new(&bytes), options);
    decoder.decode_headers().map_err(|error| context.damaged(format!("{error:?}")))?;
    let (width, height) = decoder.dimensions().unwrap_or_default();
    let length = |length| u32::try_from(length).unwrap_or(u32::MAX);
    let size = context.limit(length(width), length(height))?;
    let format = match decoder.colorspace() {
        Some(ColorSpace::Luma) => VideoFormat::Gray8,
        Some(ColorSpace::RGB) => VideoFormat::Rgb,
        Some(ColorSpace::RGBA) => VideoFormat::Rgba,
        _ => return Err(context.unsupported("a BMP with unusual colours")),
    };
    let packed = decoder.decode().map_err(|error| context.damaged(format!("{error:?}")))?;
    let mut pixels = Pixels::new(format, size, context)?;
    pixels.fill(&packed);
    Ok(pixels.into_image(Orientation::default(), None))
}

/// Columns and rows of BITMAPINFOHEADER and what followed it. Rows from the top are negative.
fn declared_size(bytes: &[u8]) -> Option<(u32, u32)> {
    let number = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    (number(14)? >= 40).then_some(())?;
    let length = |at| Some(number(at)?.cast_signed().unsigned_abs());
    Some((length(18)?, length(22)?))
}

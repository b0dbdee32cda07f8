use moliceiro_messages::Size;
use zune_jpeg::JpegDecoder;
use zune_jpeg::errors::DecodeErrors;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::color::{ColorConversion, YCbCrRow};
use super::tensor;
use crate::frame_error::JpegError;
use crate::text::one_line;

/// A progressive JPEG may ask for any number of passes over the picture.
const MAX_SCANS: usize = 16;
const END_OF_IMAGE: [u8; 2] = [0xff, 0xd9];

/// What a decoded JPEG consists of.
#[derive(Clone, Copy, Debug)]
pub(super) enum JpegSamples {
    /// Triples of Y', Cb and Cr.
    YCbCr,
    /// Y' only.
    Grey,
}

/// Decodes a JPEG of exactly this size into `decoded`. Its values are kept as they are, without a
/// conversion to R'G'B'.
pub(super) fn decode(
    bytes: &[u8],
    size: Size,
    decoded: &mut Vec<u8>,
) -> Result<JpegSamples, JpegError> {
    // The decoder fills what is missing at the very end with grey. The end marker shows that
    // nothing is missing.
    let padding = bytes.iter().rev().take_while(|byte| **byte == 0).count();
    if !bytes[..bytes.len() - padding].ends_with(&END_OF_IMAGE) {
        return Err(JpegError::Truncated);
    }
    let options = DecoderOptions::default()
        .set_strict_mode(true)
        .set_max_width(size.width as usize)
        .set_max_height(size.height as usize)
        .jpeg_set_max_scans(MAX_SCANS)
        .jpeg_set_out_colorspace(ColorSpace::YCbCr);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    let rejected = |error: DecodeErrors| JpegError::Decoder(one_line(&error.to_string()));
    decoder.decode_headers().map_err(rejected)?;
    let (width, height) = decoder.dimensions().unwrap_or_default();
    if (width, height) != (size.width as usize, size.height as usize) {
        // A JPEG's header has 16 bits for each side.
        let side = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
        let actual = Size { width: side(width), height: side(height) };
        return Err(JpegError::Size { actual, declared: size });
    }
    let (samples, bytes_per_pixel) = match decoder.input_colorspace() {
        Some(ColorSpace::YCbCr) => (JpegSamples::YCbCr, 3),
        Some(ColorSpace::Luma) => {
            decoder.set_options(options.jpeg_set_out_colorspace(ColorSpace::Luma));
            (JpegSamples::Grey, 1)
        }
        Some(other) => return Err(JpegError::Colors(format!("{other:?}"))),
        None => return Err(JpegError::Colors("unknown".to_owned())),
    };
    decoded.resize(width * height * bytes_per_pixel, 0);
    decoder.decode_into(decoded).map_err(rejected)?;
    Ok(samples)
}

/// Fills the tensor from what [`decode`] returned. `row` has the tensor's width.
pub(super) fn convert(
    decoded: &[u8],
    samples: JpegSamples,
    conversion: &ColorConversion,
    row: &mut YCbCrRow,
    tensor: &mut [f32],
) {
    match samples {
        JpegSamples::YCbCr => convert_triples(decoded, conversion, row, tensor),
        JpegSamples::Grey => convert_grey(decoded, conversion, row, tensor),
    }
}

fn convert_triples(
    decoded: &[u8],
    conversion: &ColorConversion,
    row: &mut YCbCrRow,
    tensor: &mut [f32],
) {
    let YCbCrRow { y, cb, cr } = row;
    let width = y.len();
    for (triples, tensor) in decoded.chunks_exact(3 * width).zip(tensor::rows(tensor, width, 1)) {
        for (((triple, y), cb), cr) in
            triples.chunks_exact(3).zip(y.iter_mut()).zip(cb.iter_mut()).zip(cr.iter_mut())
        {
            (*y, *cb, *cr) = (triple[0], triple[1], triple[2]);
        }
        conversion.convert(y, cb, cr, tensor);
    }
}

fn convert_grey(
    decoded: &[u8],
    conversion: &ColorConversion,
    row: &mut YCbCrRow,
    tensor: &mut [f32],
) {
    row.fill_grey(0);
    let width = row.y.len();
    for (y, tensor) in decoded.chunks_exact(width).zip(tensor::rows(tensor, width, 1)) {
        conversion.convert(y, &row.cb, &row.cr, tensor);
    }
}

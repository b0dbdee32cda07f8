//! From an encoded picture to the model's input tensor.

mod color;
mod i420;
mod jpeg;
mod tensor;
#[cfg(test)]
#[expect(clippy::cast_possible_truncation, reason = "small pictures, noise cut to bytes")]
mod tests;

use moliceiro_messages::{Area, Encoding, Size};

use crate::frame_error::PictureError;
use crate::input::Input;
use crate::picture::Picture;
use color::{ColorConversion, Normalisation, YCbCrRow};
use jpeg::JpegSamples;

/// Turns pictures into tensors, in buffers that are reused.
pub(crate) struct Pixels {
    normalisation: Normalisation,
    /// Y'CbCr triples of a JPEG, or the grey values of one without colour.
    decoded: Vec<u8>,
    row: YCbCrRow,
    tensor: Vec<f32>,
}

/// A decoded picture, ready to become a tensor.
pub struct Samples<'a> {
    pixels: &'a mut Pixels,
    picture: Picture<'a>,
    location: Location,
}

/// Where the samples of a picture are.
#[derive(Clone, Copy, Debug)]
enum Location {
    /// In the picture's own bytes, which hold this area of it.
    I420(Area),
    /// In the buffer.
    Jpeg(JpegSamples),
}

impl Pixels {
    pub fn new(input: &Input) -> Self {
        Self {
            normalisation: Normalisation::new(input),
            decoded: vec![],
            row: YCbCrRow::default(),
            tensor: vec![],
        }
    }

    /// The tensor of a picture that is black everywhere.
    pub fn blank(&mut self, size: Size) -> &[f32] {
        let plane = size.width as usize * size.height as usize;
        self.tensor.clear();
        for black in self.normalisation.black() {
            self.tensor.resize(self.tensor.len() + plane, black);
        }
        &self.tensor
    }

    /// Decodes a picture. The size must be one that the model takes: buffers grow with it.
    pub fn decode<'a>(&'a mut self, picture: Picture<'a>) -> Result<Samples<'a>, PictureError> {
        let Picture { size, letterbox, bytes, .. } = picture;
        if [letterbox.source, letterbox.content].iter().any(|s| s.width == 0 || s.height == 0) {
            return Err(PictureError::EmptyLetterbox(letterbox));
        }
        if !letterbox.fits(size) {
            return Err(PictureError::LetterboxOutside { letterbox, size });
        }
        let location = match picture.encoding {
            Encoding::Jpeg => Location::Jpeg(jpeg::decode(bytes, size, &mut self.decoded)?),
            Encoding::I420 => {
                let area = letterbox.sampled(size);
                if area.size.i420_len() != Some(bytes.len()) {
                    return Err(PictureError::I420Length { bytes: bytes.len(), size: area.size });
                }
                Location::I420(area)
            }
        };
        Ok(Samples { pixels: self, picture, location })
    }
}

impl Samples<'_> {
    /// The picture's tensor: three planes of its size, row by row.
    pub fn tensor(&mut self) -> &[f32] {
        let Picture { size, color, bytes, .. } = self.picture;
        let (width, height) = (size.width as usize, size.height as usize);
        let Pixels { normalisation, decoded, row, tensor } = &mut *self.pixels;
        let conversion = ColorConversion::new(color, normalisation);
        tensor.resize(3 * width * height, 0.0);
        row.resize(width);
        match self.location {
            Location::I420(area) => i420::convert(bytes, area, &conversion, row, tensor),
            Location::Jpeg(samples) => jpeg::convert(decoded, samples, &conversion, row, tensor),
        }
        tensor
    }
}

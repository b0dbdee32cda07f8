//! From an encoded picture to the model's input tensor.

mod color;
mod i420;
mod jpeg;
mod tensor;
#[cfg(test)]
#[expect(clippy::cast_possible_truncation, reason = "small pictures, noise cut to bytes")]
mod tests;

use moliceiro_messages::{Area, Encoding, Letterbox, Size};

use crate::frame_error::PictureError;
use crate::image::Image;
use crate::input::{Colors, Input};
use crate::picture::Picture;
use color::{ColorConversion, Normalisation, YCbCrRow};
use jpeg::JpegSamples;

/// Turns pictures into tensors, in buffers that are reused.
pub(crate) struct Pixels {
    normalisation: Normalisation,
    /// The border's values in the tensor's planes, unless it is black, as borders arrive.
    padding: Option<[f32; 3]>,
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
            padding: (input.padding != [0; 3]).then(|| input.padding_planes()),
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

    /// The tensor of a whole picture.
    pub fn image(&mut self, image: &Image) -> &[f32] {
        let pixels = image.pixels();
        let Self { normalisation, tensor, .. } = self;
        let plane_length = pixels.len() / 3;
        tensor.resize(pixels.len(), 0.0);
        for (index, plane) in tensor.chunks_exact_mut(plane_length.max(1)).enumerate() {
            let channel = match normalisation.colors {
                Colors::Rgb => index,
                Colors::Bgr => 2 - index,
            };
            let (gain, bias) = (normalisation.gain[index], normalisation.bias[index]);
            for (value, pixel) in plane.iter_mut().zip(pixels.chunks_exact(3)) {
                *value = f32::from(pixel[channel]) * gain + bias;
            }
        }
        tensor
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
        let Picture { size, letterbox, color, bytes, .. } = self.picture;
        let (width, height) = (size.width as usize, size.height as usize);
        let Pixels { normalisation, padding, decoded, row, tensor } = &mut *self.pixels;
        let conversion = ColorConversion::new(color, normalisation);
        tensor.resize(3 * width * height, 0.0);
        row.resize(width);
        match self.location {
            Location::I420(area) => i420::convert(bytes, area, &conversion, row, tensor),
            Location::Jpeg(samples) => jpeg::convert(decoded, samples, &conversion, row, tensor),
        }
        if let Some(padding) = padding {
            fill_border(tensor, width, &letterbox, *padding);
        }
        tensor
    }
}

/// Gives the border around the letterbox these values.
fn fill_border(tensor: &mut [f32], width: usize, letterbox: &Letterbox, padding: [f32; 3]) {
    let Letterbox { left, top, content, .. } = letterbox;
    let [left, top, columns, rows] =
        [*left, *top, content.width, content.height].map(|length| length as usize);
    let plane = tensor.len() / 3;
    for (plane, value) in tensor.chunks_exact_mut(plane).zip(padding) {
        plane[..top * width].fill(value);
        plane[(top + rows) * width..].fill(value);
        if columns < width {
            for row in plane[top * width..(top + rows) * width].chunks_exact_mut(width) {
                row[..left].fill(value);
                row[left + columns..].fill(value);
            }
        }
    }
}

use moliceiro_messages::{Letterbox, Size};
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use crate::frame_error::JpegError;
use crate::text::one_line;

/// A picture of any size, as red, green and blue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    size: Size,
    pixels: Vec<u8>,
}

impl Image {
    /// `None` unless there are three bytes for each pixel, and at least one pixel.
    pub fn new(size: Size, pixels: Vec<u8>) -> Option<Self> {
        let length = (size.width as usize).checked_mul(size.height as usize)?.checked_mul(3)?;
        (length > 0 && pixels.len() == length).then_some(Self { size, pixels })
    }

    /// Decodes a JPEG whose sides are at most this long.
    pub fn from_jpeg(bytes: &[u8], most: u32) -> Result<Self, JpegError> {
        let options = DecoderOptions::default()
            .set_max_width(most as usize)
            .set_max_height(most as usize)
            .jpeg_set_out_colorspace(ColorSpace::RGB);
        let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
        let rejected = |message: String| JpegError::Decoder(one_line(&message));
        let pixels = decoder.decode().map_err(|error| rejected(error.to_string()))?;
        let (width, height) = decoder.dimensions().unwrap_or_default();
        let side = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
        let size = Size { width: side(width), height: side(height) };
        Self::new(size, pixels).ok_or_else(|| rejected("it has no colours".to_owned()))
    }

    /// Width and height.
    pub fn size(&self) -> Size {
        self.size
    }

    /// Red, green and blue of each pixel, row by row.
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    /// Scales it into the letterbox of a picture of this size, and returns the whole picture.
    pub(crate) fn placed(&self, size: Size, letterbox: &Letterbox, padding: [u8; 3]) -> Self {
        let (width, height) = (size.width as usize, size.height as usize);
        let mut pixels = padding.repeat(width * height);
        let content = letterbox.content;
        let columns = taps(self.size.width, content.width);
        let rows = taps(self.size.height, content.height);
        let stride = 3 * self.size.width as usize;
        let lines = pixels.chunks_exact_mut(3 * width).skip(letterbox.top as usize);
        for (line, row) in lines.zip(&rows) {
            let (above, below) =
                (&self.pixels[row.from * stride..], &self.pixels[row.to * stride..]);
            let targets = line.chunks_exact_mut(3).skip(letterbox.left as usize);
            for (target, column) in targets.zip(&columns) {
                for (channel, value) in target.iter_mut().enumerate() {
                    let at = |line: &[u8]| {
                        let left = f32::from(line[3 * column.from + channel]);
                        let right = f32::from(line[3 * column.to + channel]);
                        left + (right - left) * column.share
                    };
                    let (top, bottom) = (at(above), at(below));
                    #[expect(clippy::cast_possible_truncation, reason = "it is a byte")]
                    #[expect(clippy::cast_sign_loss, reason = "it is a byte")]
                    let mixed = (top + (bottom - top) * row.share).round() as u8;
                    *value = mixed;
                }
            }
        }
        Self { size, pixels }
    }
}

/// Two neighbours, and how much of the second is taken.
struct Tap {
    from: usize,
    to: usize,
    share: f32,
}

/// Bilinear scaling with pixels that have their middle at ½, as OpenCV's.
fn taps(from: u32, to: u32) -> Vec<Tap> {
    let scale = f64::from(from) / f64::from(to.max(1));
    let last = f64::from(from.saturating_sub(1));
    let tap = |index: u32| {
        let at = ((f64::from(index) + 0.5) * scale - 0.5).clamp(0.0, last);
        let floor = at.floor();
        #[expect(clippy::cast_possible_truncation, reason = "it is within the picture")]
        #[expect(clippy::cast_sign_loss, reason = "it is within the picture")]
        let from = floor as usize;
        #[expect(clippy::cast_possible_truncation, reason = "a share needs less than f64")]
        let share = (at - floor) as f32;
        Tap { from, to: if at < last { from + 1 } else { from }, share }
    };
    (0..to).map(tap).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fit::place;
    use moliceiro_messages::Fit;

    #[test]
    fn a_picture_is_scaled_between_pixels_and_padded() {
        let source = Size { width: 2, height: 1 };
        let image = Image::new(source, vec![0, 0, 0, 200, 100, 40]).unwrap();
        let size = Size { width: 4, height: 4 };
        let placed = image.placed(size, &place(Fit::Letterbox, source, size), [1, 2, 3]);
        let row = |y: usize| placed.pixels[12 * y..][..12].to_vec();
        assert_eq!(row(0), [1, 2, 3, 1, 2, 3, 1, 2, 3, 1, 2, 3]);
        assert_eq!(row(1), [0, 0, 0, 50, 25, 10, 150, 75, 30, 200, 100, 40]);
        assert_eq!(row(1), row(2));
        assert_eq!(row(3), row(0));
        assert!(Image::new(source, vec![0; 5]).is_none());
        assert!(Image::from_jpeg(b"text", 100).is_err());
    }
}

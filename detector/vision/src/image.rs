use moliceiro_messages::{Letterbox, Scaling, Size};
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
    pub(crate) fn placed(
        &self,
        size: Size,
        letterbox: &Letterbox,
        (padding, scaling): ([u8; 3], Scaling),
    ) -> Self {
        let (width, height) = (size.width as usize, size.height as usize);
        let mut pixels = padding.repeat(width * height);
        let content = letterbox.content;
        let columns = taps(self.size.width, content.width, scaling);
        let rows = taps(self.size.height, content.height, scaling);
        let stride = 3 * self.size.width as usize;
        let lines = pixels.chunks_exact_mut(3 * width).skip(letterbox.top as usize);
        let mut mixed = vec![0.0f32; stride];
        for (line, row) in lines.zip(&rows) {
            mixed.fill(0.0);
            let sources = self.pixels.chunks_exact(stride).skip(row.from);
            for (source, share) in sources.zip(&row.shares) {
                for (mixed, value) in mixed.iter_mut().zip(source) {
                    *mixed += f32::from(*value) * share;
                }
            }
            let targets = line.chunks_exact_mut(3).skip(letterbox.left as usize);
            for (target, column) in targets.zip(&columns) {
                for (channel, value) in target.iter_mut().enumerate() {
                    let sources = mixed.iter().skip(3 * column.from + channel).step_by(3);
                    let sum: f32 =
                        sources.zip(&column.shares).map(|(value, share)| value * share).sum();
                    #[expect(clippy::cast_possible_truncation, reason = "it is a byte")]
                    #[expect(clippy::cast_sign_loss, reason = "it is a byte")]
                    let rounded = sum.round() as u8;
                    *value = rounded;
                }
            }
        }
        Self { size, pixels }
    }
}

/// Pixels next to each other, and how much of each is taken.
struct Taps {
    from: usize,
    shares: Vec<f32>,
}

/// Scaling with pixels that have their middle at ½, as OpenCV's and Pillow's. Lanczos, which no
/// toolkit uses, is replaced by what is closest.
fn taps(from: u32, to: u32, scaling: Scaling) -> Vec<Taps> {
    let scale = f64::from(from) / f64::from(to.max(1));
    let reach = match scaling {
        Scaling::Linear => 1.0,
        Scaling::Smooth | Scaling::Lanczos => scale.max(1.0),
    };
    let last = f64::from(from.saturating_sub(1));
    let tap = |index: u32| {
        let middle = ((f64::from(index) + 0.5) * scale - 0.5).clamp(0.0, last);
        let at = |place: f64| 1.0 - (place - middle).abs() / reach;
        let first = (middle - reach).ceil().max(0.0);
        let mut shares: Vec<f64> = (0..)
            .map(|step| first + f64::from(step))
            .take_while(|place| *place <= last && *place < middle + reach)
            .map(at)
            .collect();
        let sum: f64 = shares.iter().sum();
        shares.iter_mut().for_each(|share| *share /= sum);
        #[expect(clippy::cast_possible_truncation, reason = "it is within the picture")]
        #[expect(clippy::cast_sign_loss, reason = "it is within the picture")]
        let from = first as usize;
        #[expect(clippy::cast_possible_truncation, reason = "a share needs less than f64")]
        let shares = shares.into_iter().map(|share| share as f32).collect();
        Taps { from, shares }
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
        let (letterbox, _) = place(Fit::Letterbox, source, size, None);
        let placed = image.placed(size, &letterbox, ([1, 2, 3], Scaling::Linear));
        let row = |y: usize| placed.pixels[12 * y..][..12].to_vec();
        assert_eq!(row(0), [1, 2, 3, 1, 2, 3, 1, 2, 3, 1, 2, 3]);
        assert_eq!(row(1), [0, 0, 0, 50, 25, 10, 150, 75, 30, 200, 100, 40]);
        assert_eq!(row(1), row(2));
        assert_eq!(row(3), row(0));
        assert!(Image::new(source, vec![0; 5]).is_none());
        assert!(Image::from_jpeg(b"text", 100).is_err());
    }

    #[test]
    fn a_smaller_picture_has_the_nearest_pixels_or_the_mean_of_all_that_it_covers() {
        let source = Size { width: 8, height: 1 };
        let row = [0, 80, 0, 0, 0, 0, 160, 240];
        let image = Image::new(source, row.iter().flat_map(|value| [*value; 3]).collect()).unwrap();
        let size = Size { width: 2, height: 1 };
        let (letterbox, _) = place(Fit::Stretch, source, size, None);
        let scaled = |scaling| {
            let placed = image.placed(size, &letterbox, ([0; 3], scaling));
            [placed.pixels[0], placed.pixels[3]]
        };
        assert_eq!(scaled(Scaling::Linear), [40, 80]);
        // As Pillow's: Image.fromarray(row).resize((2, 1), Image.BILINEAR).
        assert_eq!(scaled(Scaling::Smooth), [20, 83]);
    }
}

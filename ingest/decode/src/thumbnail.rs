use jpeg_encoder::{ColorType, Encoder};
use moliceiro_messages::{Color, Letterbox, Size};

use crate::error::PictureError;

const QUALITY: u8 = 82;

/// Encodes the frame in a letterboxed picture, without the border, as a JPEG file that any viewer
/// shows in the right colours: JFIF requires BT.601 with full range, whatever `color` is.
///
/// `planes` has one chroma sample for each pixel (4:4:4).
pub(crate) fn encode(
    planes: &[u8],
    size: Size,
    letterbox: Letterbox,
    color: Color,
) -> Result<Vec<u8>, PictureError> {
    let (stride, plane) = (size.width as usize, size.width as usize * size.height as usize);
    let Letterbox { left, top, content, .. } = letterbox;
    let (left, width) = (left as usize, content.width as usize);
    let rgb = Rgb::new(color);
    let mut pixels = Vec::with_capacity(3 * width * content.height as usize);
    for y in (top..top + content.height).map(|y| y as usize) {
        let start = y * stride + left;
        let row = |n: usize| &planes[n * plane + start..n * plane + start + width];
        for ((y, cb), cr) in row(0).iter().zip(row(1)).zip(row(2)) {
            pixels.extend(rgb.of(*y, *cb, *cr));
        }
    }
    let side =
        |length: u32| u16::try_from(length).map_err(|_| PictureError::ThumbnailTooLarge(length));
    let mut jpeg = Vec::new();
    let encoder = Encoder::new(&mut jpeg, QUALITY);
    encoder.encode(&pixels, side(content.width)?, side(content.height)?, ColorType::Rgb)?;
    Ok(jpeg)
}

/// Converts Y'CbCr to R'G'B' (ITU-T H.273, equations 8 and 38 to 40).
struct Rgb {
    red: f32,
    blue: f32,
    black: f32,
    luma: f32,
    chroma: f32,
}

impl Rgb {
    fn new(color: Color) -> Self {
        let (red, blue) = color.matrix.luma_weights();
        #[expect(clippy::cast_possible_truncation, reason = "a byte needs less precision than f32")]
        let (red, blue) = (red as f32, blue as f32);
        let (black, luma, chroma) =
            if color.full_range { (0.0, 1.0, 1.0) } else { (16.0, 255.0 / 219.0, 255.0 / 224.0) };
        Self { red, blue, black, luma, chroma }
    }

    fn of(&self, y: u8, cb: u8, cr: u8) -> [u8; 3] {
        let y = (f32::from(y) - self.black) * self.luma;
        let [cb, cr] = [cb, cr].map(|chroma| (f32::from(chroma) - 128.0) * self.chroma);
        let red = y + 2.0 * (1.0 - self.red) * cr;
        let blue = y + 2.0 * (1.0 - self.blue) * cb;
        let green = (y - self.red * red - self.blue * blue) / (1.0 - self.red - self.blue);
        #[expect(clippy::cast_possible_truncation, reason = "`as` saturates")]
        let byte = |value: f32| value.round() as u8;
        [red, green, blue].map(byte)
    }
}

#[cfg(test)]
mod tests {
    use moliceiro_messages::Matrix;

    use super::*;

    #[test]
    fn colours_are_right_for_each_matrix_and_range() {
        for (color, values, expected) in [
            (Color { matrix: Matrix::Bt601, full_range: true }, [255, 128, 128], [255, 255, 255]),
            (Color { matrix: Matrix::Bt601, full_range: false }, [81, 90, 240], [254, 0, 0]),
            (Color { matrix: Matrix::Bt709, full_range: false }, [63, 102, 240], [255, 1, 0]),
            (Color { matrix: Matrix::Bt709, full_range: false }, [16, 128, 128], [0, 0, 0]),
            (Color { matrix: Matrix::Bt2020, full_range: false }, [235, 128, 128], [255, 255, 255]),
        ] {
            let [y, cb, cr] = values;
            assert_eq!(Rgb::new(color).of(y, cb, cr), expected, "{color:?}");
        }
    }
}

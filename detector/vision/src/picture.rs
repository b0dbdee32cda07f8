use moliceiro_messages::{Color, Encoding, Frame, Letterbox, Matrix, Size};

/// A picture to find objects in. [`Frame`]s convert into it.
#[derive(Clone, Copy, Debug)]
pub struct Picture<'a> {
    /// How `bytes` are encoded.
    pub encoding: Encoding,
    /// The size that the model is given; it must be one that the model takes.
    pub size: Size,
    /// Where in the picture the source lies. Boxes are in the source's pixels.
    pub letterbox: Letterbox,
    /// The meaning of the Y'CbCr values.
    pub color: Color,
    /// The encoded pixels.
    pub bytes: &'a [u8],
}

impl<'a> Picture<'a> {
    /// A JPEG of this size without borders, with the colours of JFIF: boxes are in its own pixels.
    pub fn jpeg(size: Size, bytes: &'a [u8]) -> Self {
        Self {
            encoding: Encoding::Jpeg,
            size,
            letterbox: Letterbox { source: size, left: 0, top: 0, content: size },
            color: Color { matrix: Matrix::Bt601, full_range: true },
            bytes,
        }
    }
}

impl<'a> From<&'a Frame> for Picture<'a> {
    fn from(frame: &'a Frame) -> Self {
        let Frame { encoding, size, letterbox, color, .. } = *frame;
        Self { encoding, size, letterbox, color, bytes: &frame.pixels }
    }
}

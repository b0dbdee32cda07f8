use serde::{Deserialize, Serialize};

use super::{MalformedMessage, Versioned};
use crate::VideoId;

/// One decoded frame on its way to a detector, as CBOR on `frames.<video>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frame {
    /// [`super::VERSION`]
    pub version: u8,
    /// The video it belongs to.
    pub video: VideoId,
    /// Its number in decode order, from 0. With the video, this is the frame's identity.
    pub index: u64,
    /// Presentation time in nanoseconds from the start of the video's timeline, if the container has one.
    pub pts: Option<u64>,
    /// When it was decoded, in milliseconds since 1970-01-01 UTC.
    #[serde(default)]
    pub decoded_at: Option<u64>,
    /// How `pixels` are to be read.
    pub encoding: Encoding,
    /// Size of the letterboxed picture in `pixels`.
    pub size: Size,
    /// Where in the picture the video's own frame lies.
    pub letterbox: Letterbox,
    /// What the picture's Y'CbCr values mean.
    pub color: Color,
    /// The picture.
    #[serde(with = "serde_bytes")]
    pub pixels: Vec<u8>,
}

impl Versioned for Frame {
    fn version(&self) -> u8 {
        self.version
    }
}

/// How a frame's pixels are encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    /// A baseline JPEG of the Y'CbCr planes as they are: its values have the meaning that [`Color`] says, not JFIF's.
    Jpeg,
    /// Planes Y', Cb, Cr in turn without padding; chroma has half the width and height, rounded up.
    I420,
}

/// Width and height in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Size {
    /// Pixels in a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
}

/// Where the frame lies in the letterboxed picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Letterbox {
    /// Size of the video's frame, upright, in its own pixels.
    pub source: Size,
    /// Columns of black to the left of it.
    pub left: u32,
    /// Rows of black above it.
    pub top: u32,
    /// Its size within the picture.
    pub content: Size,
}

/// What Y'CbCr values mean (ITU-T H.273).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Color {
    /// Which coefficients lead to R'G'B'.
    pub matrix: Matrix,
    /// True when Y' uses all of 0..=255, false when 16..=235.
    pub full_range: bool,
}

/// Coefficients between Y'CbCr and R'G'B' (ITU-T H.273, table 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Matrix {
    /// ITU-R BT.601, standard definition and JPEG.
    Bt601,
    /// ITU-R BT.709, high definition.
    Bt709,
    /// ITU-R BT.2020, non-constant luminance.
    Bt2020,
}

impl Size {
    /// Bytes of an [`Encoding::I420`] picture of this size, unless that overflows.
    pub fn i420_len(self) -> Option<usize> {
        let (width, height) = (self.width as usize, self.height as usize);
        let chroma = width.div_ceil(2).checked_mul(height.div_ceil(2))?;
        width.checked_mul(height)?.checked_add(chroma.checked_mul(2)?)
    }
}

impl Frame {
    /// Reads a frame, and checks that its fields fit each other. `pixels` of a JPEG are not looked at.
    pub fn from_cbor(bytes: &[u8]) -> Result<Self, MalformedMessage> {
        let frame: Self = super::from_cbor(bytes)?;
        let contradiction = |text: String| Err(MalformedMessage::Contradiction(text));
        let Letterbox { source, left, top, content } = frame.letterbox;
        if [frame.size, source, content].iter().any(|s| s.width == 0 || s.height == 0) {
            return contradiction(format!("a picture without pixels: {:?}, {:?}", frame.size, frame.letterbox));
        }
        let fits = |offset: u32, length: u32, whole: u32| offset.checked_add(length).is_some_and(|end| end <= whole);
        if !fits(left, content.width, frame.size.width) || !fits(top, content.height, frame.size.height) {
            return contradiction(format!("{:?} does not fit into {:?}", frame.letterbox, frame.size));
        }
        if frame.encoding == Encoding::I420 && frame.size.i420_len() != Some(frame.pixels.len()) {
            return contradiction(format!("{} bytes are not an I420 picture of {:?}", frame.pixels.len(), frame.size));
        }
        Ok(frame)
    }

    /// The CBOR of the frame.
    pub fn to_cbor(&self) -> Vec<u8> {
        const HEAD: usize = 512;
        super::to_cbor(self, self.pixels.len() + HEAD)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame() -> Frame {
        let size = Size { width: 5, height: 4 };
        Frame {
            version: 1,
            video: VideoId::for_name("a", "1"),
            index: 3,
            pts: Some(40_000_000),
            decoded_at: Some(1_700_000_000_000),
            encoding: Encoding::I420,
            size,
            letterbox: Letterbox { source: Size { width: 10, height: 4 }, left: 0, top: 1, content: Size { width: 5, height: 2 } },
            color: Color { matrix: Matrix::Bt709, full_range: false },
            pixels: vec![7; 20 + 6 + 6],
        }
    }

    #[test]
    fn a_frame_survives_the_wire_and_its_pixels_are_a_byte_string() {
        let bytes = frame().to_cbor();
        assert_eq!(Frame::from_cbor(&bytes).unwrap(), frame());
        assert!(bytes.windows(34).any(|w| w[0] == 0x58 && w[1] == 32 && w[2..].iter().all(|b| *b == 7)));
    }

    #[test]
    fn a_frame_that_contradicts_itself_is_refused() {
        let spoil: [fn(&mut Frame); 5] = [
            |f| f.pixels.truncate(3),
            |f| f.letterbox.top = u32::MAX,
            |f| f.letterbox.content.width = 6,
            |f| f.letterbox.source.height = 0,
            |f| f.size.width = u32::MAX,
        ];
        for spoil in spoil {
            let mut frame = frame();
            spoil(&mut frame);
            assert!(matches!(Frame::from_cbor(&frame.to_cbor()), Err(MalformedMessage::Contradiction(_))), "{frame:?}");
        }
        let mut newer = frame();
        newer.version = 2;
        assert!(matches!(Frame::from_cbor(&newer.to_cbor()), Err(MalformedMessage::Version(2))));
        assert!(matches!(Frame::from_cbor(b"\xff\x00 text"), Err(MalformedMessage::Cbor(_))));
        assert!(matches!(Frame::from_cbor(&frame().to_cbor()[..40]), Err(MalformedMessage::Cbor(_))));
    }
}

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
    /// Presentation time in nanoseconds from the start of the video's timeline, if the container
    /// has one.
    pub pts: Option<u64>,
    /// When it was decoded, in milliseconds since 1970-01-01 UTC.
    #[serde(default)]
    pub decoded_at: Option<u64>,
    /// How `pixels` are to be read.
    pub encoding: Encoding,
    /// Size of the letterboxed picture that the model is given.
    pub size: Size,
    /// Where in the picture the video's own frame lies.
    pub letterbox: Letterbox,
    /// What the picture's Y'CbCr values mean.
    pub color: Color,
    /// The picture, or what `encoding` says of it.
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
    /// A baseline JPEG of the Y'CbCr planes as they are: its values have the meaning that [`Color`]
    /// says, not JFIF's.
    Jpeg,
    /// Planes Y', Cb, Cr in turn without padding, of the [`Letterbox::sampled`] area; chroma has
    /// half the width and height, rounded up.
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

/// A rectangle of pixels in a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Area {
    /// Columns to the left of it.
    pub left: u32,
    /// Rows above it.
    pub top: u32,
    /// Its own columns and rows.
    pub size: Size,
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

impl Letterbox {
    /// Whether it lies in a picture of this size, with a pixel of it at least.
    pub fn fits(self, picture: Size) -> bool {
        let inside = |offset: u32, length: u32, whole: u32| {
            length > 0 && offset.checked_add(length).is_some_and(|end| end <= whole)
        };
        inside(self.left, self.content.width, picture.width)
            && inside(self.top, self.content.height, picture.height)
    }

    /// The area of the picture that an [`Encoding::I420`] payload has: the frame, widened to whole
    /// chroma samples. The border around it is black, and not sent: it would be most of what a wide
    /// video weighs.
    pub fn sampled(self, picture: Size) -> Area {
        let along = |offset: u32, length: u32, whole: u32| {
            let end = offset
                .saturating_add(length)
                .checked_next_multiple_of(2)
                .map_or(whole, |end| end.min(whole));
            let start = (offset - offset % 2).min(end);
            (start, end - start)
        };
        let (left, width) = along(self.left, self.content.width, picture.width);
        let (top, height) = along(self.top, self.content.height, picture.height);
        Area { left, top, size: Size { width, height } }
    }
}

impl Frame {
    /// Reads a frame, and checks that its fields fit each other. `pixels` of a JPEG are not looked
    /// at.
    pub fn from_cbor(bytes: &[u8]) -> Result<Self, MalformedMessage> {
        let frame: Self = super::from_cbor(bytes)?;
        let contradiction = |text: String| Err(MalformedMessage::Contradiction(text));
        let Letterbox { source, content, .. } = frame.letterbox;
        if [frame.size, source, content].iter().any(|s| s.width == 0 || s.height == 0) {
            return contradiction(format!(
                "a picture without pixels: {:?}, {:?}",
                frame.size, frame.letterbox
            ));
        }
        if !frame.letterbox.fits(frame.size) {
            return contradiction(format!(
                "{:?} does not fit into {:?}",
                frame.letterbox, frame.size
            ));
        }
        let sampled = frame.letterbox.sampled(frame.size).size;
        if frame.encoding == Encoding::I420 && sampled.i420_len() != Some(frame.pixels.len()) {
            return contradiction(format!(
                "{} bytes are not I420 of {sampled:?}",
                frame.pixels.len()
            ));
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
            letterbox: Letterbox {
                source: Size { width: 10, height: 4 },
                left: 0,
                top: 1,
                content: Size { width: 5, height: 1 },
            },
            color: Color { matrix: Matrix::Bt709, full_range: false },
            pixels: vec![7; 10 + 3 + 3],
        }
    }

    #[test]
    fn a_frame_survives_the_wire_and_its_pixels_are_a_byte_string() {
        let bytes = frame().to_cbor();
        assert_eq!(Frame::from_cbor(&bytes).unwrap(), frame());
        assert!(bytes.windows(17).any(|w| w[0] == 0x50 && w[1..].iter().all(|b| *b == 7)));
    }

    #[test]
    fn what_is_sampled_begins_and_ends_with_a_whole_chroma_sample_or_at_the_edge() {
        let picture = Size { width: 9, height: 416 };
        for (offset, length, start, end) in
            [(0, 9, 0, 9), (1, 1, 0, 2), (2, 2, 2, 4), (3, 4, 2, 8), (7, 2, 6, 9), (8, 1, 8, 9)]
        {
            let content = Size { width: length, height: 177 };
            let sampled =
                Letterbox { source: content, left: offset, top: 119, content }.sampled(picture);
            assert_eq!(
                sampled,
                Area { left: start, top: 118, size: Size { width: end - start, height: 178 } },
                "{offset} {length}"
            );
        }
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
            assert!(
                matches!(
                    Frame::from_cbor(&frame.to_cbor()),
                    Err(MalformedMessage::Contradiction(_))
                ),
                "{frame:?}"
            );
        }
        let mut newer = frame();
        newer.version = 2;
        assert!(matches!(Frame::from_cbor(&newer.to_cbor()), Err(MalformedMessage::Version(2))));
        assert!(matches!(Frame::from_cbor(b"\xff\x00 text"), Err(MalformedMessage::Cbor(_))));
        assert!(matches!(
            Frame::from_cbor(&frame().to_cbor()[..40]),
            Err(MalformedMessage::Cbor(_))
        ));
    }
}

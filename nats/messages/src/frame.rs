use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{Color, MalformedMessage, Versioned};
use crate::VideoId;

/// One decoded frame on its way to a detector, as CBOR on `frames.<model>.<video>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frame {
    /// [`super::VERSION`]
    pub version: u8,
    /// The video it belongs to.
    pub video: VideoId,
    /// Its number in decode order, from 0. With the video, this is the frame's identity.
    pub index: u64,
    /// Presentation time in nanoseconds from the first frame, if the container has times.
    pub pts: Option<u64>,
    /// When it was decoded, in milliseconds since 1970-01-01 UTC.
    #[serde(default)]
    pub decoded_at: Option<u64>,
    /// Format of `pixels`.
    pub encoding: Encoding,
    /// Size of the letterboxed picture, the model's input.
    pub size: Size,
    /// Where in the picture the video's own frame lies.
    pub letterbox: Letterbox,
    /// Meaning of the picture's Y'CbCr values.
    pub color: Color,
    /// The picture in `encoding`.
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
    /// A baseline JPEG of the Y'CbCr planes as they are: [`Color`] gives the meaning of its values,
    /// not JFIF.
    Jpeg,
    /// Planes Y', Cb, Cr in turn without padding, of the [`Letterbox::sampled`] area; chroma has
    /// half the width and height, rounded up.
    I420,
}

/// Fields of a frame that do not fit each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum FrameContradiction {
    /// A size is 0.
    #[error("a picture without pixels: {size:?}, {letterbox:?}")]
    NoPixels {
        /// The picture's size.
        size: Size,
        /// The frame's place in it.
        letterbox: Letterbox,
    },
    /// The frame lies outside the picture.
    #[error("{letterbox:?} does not fit into {size:?}")]
    Outside {
        /// The picture's size.
        size: Size,
        /// The frame's place in it.
        letterbox: Letterbox,
    },
    /// The payload has the wrong length for its encoding.
    #[error("{bytes} bytes are not I420 of {sampled:?}")]
    Length {
        /// Length of the payload.
        bytes: usize,
        /// Size of the area that it should hold.
        sampled: Size,
    },
}

/// Width and height in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Size {
    /// Columns.
    pub width: u32,
    /// Rows.
    pub height: u32,
}

/// Place of the video's frame in the letterboxed picture.
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
    /// Pixel columns to the left of it.
    pub left: u32,
    /// Pixel rows above it.
    pub top: u32,
    /// Its width and height.
    pub size: Size,
}

impl Size {
    /// The longest side of a picture that a model is given, in pixels. A frame's size comes over
    /// the network, and memory and time grow with it.
    pub const MAX_SIDE: u32 = 2048;

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

    /// The area of the picture that an [`Encoding::I420`] payload holds: the frame, widened to
    /// whole chroma samples. The black border around it is not sent: it would be most of a wide
    /// video's bytes.
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
    /// Reads a frame, and checks that its fields fit each other. A JPEG is not decoded.
    pub fn from_cbor(bytes: &[u8]) -> Result<Self, MalformedMessage> {
        let frame: Self = super::from_cbor(bytes)?;
        frame.check()?;
        Ok(frame)
    }

    fn check(&self) -> Result<(), FrameContradiction> {
        let Self { size, letterbox, .. } = *self;
        let is_empty = |size: &Size| size.width == 0 || size.height == 0;
        if [size, letterbox.source, letterbox.content].iter().any(is_empty) {
            return Err(FrameContradiction::NoPixels { size, letterbox });
        }
        if !letterbox.fits(size) {
            return Err(FrameContradiction::Outside { size, letterbox });
        }
        let (sampled, bytes) = (letterbox.sampled(size).size, self.pixels.len());
        match self.encoding {
            Encoding::I420 if sampled.i420_len() != Some(bytes) => {
                Err(FrameContradiction::Length { bytes, sampled })
            }
            _ => Ok(()),
        }
    }

    /// The frame as CBOR, with one allocation.
    pub fn to_cbor(&self) -> Vec<u8> {
        const HEAD: usize = 512;
        super::to_cbor(self, self.pixels.len() + HEAD)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Matrix;

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
    fn the_sampled_area_starts_and_ends_at_a_whole_chroma_sample_or_the_edge() {
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

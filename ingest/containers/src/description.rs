//! How a track describes its codec to a decoder, where a four-character code names it.

use crate::mp4::boxes::{boxes, find, u16_at};

/// Bytes of a visual sample description before its boxes (QuickTime File Format, "Video Sample
/// Description").
const FIELDS: usize = 78;
/// More than any decoder needs before the first frame.
pub(crate) const MOST_BYTES: u64 = 1 << 20;

/// A track's codec, for its decoder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// The codec.
    pub code: [u8; 4],
    /// Size of its pictures; 0 if unknown.
    pub width: u16,
    /// Height of its pictures.
    pub height: u16,
    /// Bits of a pixel; 0 if unknown.
    pub depth: u16,
    /// What the decoder needs before the first frame, if there is anything.
    pub data: Vec<u8>,
}

impl Description {
    /// Reads a sample description of QuickTime, with its length and code.
    pub(crate) fn of_quicktime(bytes: &[u8]) -> Option<Self> {
        let (code, content) = boxes(bytes).next()?;
        // libavformat's box for whatever a decoder of its needs.
        let data = content.get(FIELDS..).and_then(|rest| find(rest, b"glbl"));
        Some(Self {
            code,
            width: u16_at(content, 24)?,
            height: u16_at(content, 26)?,
            depth: u16_at(content, 74)?,
            data: data.unwrap_or_default().to_vec(),
        })
    }

    /// Reads the header of a bitmap, as in AVI.
    pub(crate) fn of_bitmap(bytes: &[u8]) -> Option<Self> {
        /// Bytes of the header before what the decoder needs.
        const HEADER: usize = 40;
        let short = |at: usize| Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
        Some(Self {
            code: *bytes.get(16..)?.first_chunk()?,
            width: short(4)?,
            height: short(8)?,
            depth: short(14)?,
            data: bytes.get(HEADER..)?.to_vec(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_description_holds_code_size_and_data() {
        let mut content = vec![0; FIELDS];
        (content[25], content[27], content[75]) = (128, 96, 24);
        content.extend(b"\0\0\0\x0aglblxy");
        let length = u32::try_from(content.len() + 8).unwrap().to_be_bytes();
        let bytes = [&length[..], b"HFYU", &content].concat();
        let found = Description::of_quicktime(&bytes).unwrap();
        let expected =
            Description { code: *b"HFYU", width: 128, height: 96, depth: 24, data: b"xy".to_vec() };
        assert_eq!(found, expected);
        (0..bytes.len()).for_each(|end| drop(Description::of_quicktime(&bytes[..end])));
    }

    #[test]
    fn the_header_of_a_bitmap_holds_the_same() {
        let mut bytes = vec![0; 40];
        (bytes[4], bytes[8], bytes[14]) = (128, 96, 24);
        bytes[16..20].copy_from_slice(b"FFVH");
        bytes.extend(b"xy");
        let found = Description::of_bitmap(&bytes).unwrap();
        assert_eq!((found.code, found.width, found.height), (*b"FFVH", 128, 96));
        assert_eq!((found.depth, &found.data[..]), (24, &b"xy"[..]));
        assert_eq!(Description::of_bitmap(&bytes[..39]), None);
    }
}

use std::io;

use crate::reader::Reader;

/// A video codec.
#[derive(Clone, Copy, Debug)]
pub(super) struct Codec {
    /// As people call it.
    pub(super) name: Option<&'static str>,
    pub(super) shown: Shown,
}

/// How many frames a player shows of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    /// One of each.
    One,
    /// One, unless the frame is only a reference for others.
    Vp8,
    Vp9,
    /// One, unless it is a field or a repeated frame.
    AtMostOne,
    /// It depends on more than the container: a block may hold several frames.
    Unknown,
}

impl Codec {
    /// The codec with this identifier (IETF draft-ietf-cellar-codec). `is_encoded` means that the
    /// blocks are compressed once more, or encrypted.
    pub(super) fn new(id: &str, is_interlaced: bool, is_encoded: bool) -> Self {
        let (name, shown) = match id {
            "V_MPEG4/ISO/AVC" => ("H.264", Shown::One),
            "V_MPEGH/ISO/HEVC" => ("HEVC", Shown::One),
            "V_MPEGI/ISO/VVC" => ("VVC", Shown::One),
            "V_VP8" => ("VP8", Shown::Vp8),
            "V_VP9" => ("VP9", Shown::Vp9),
            "V_AV1" => ("AV1", Shown::One),
            "V_MJPEG" => ("Motion JPEG", Shown::One),
            "V_FFV1" => ("FFV1", Shown::One),
            "V_PRORES" => ("ProRes", Shown::One),
            "V_UNCOMPRESSED" => ("uncompressed", Shown::One),
            "V_MPEG1" => ("MPEG-1", Shown::AtMostOne),
            "V_MPEG2" => ("MPEG-2", Shown::AtMostOne),
            "V_THEORA" => ("Theora", Shown::AtMostOne),
            id if id.starts_with("V_MPEG4/") => ("MPEG-4", Shown::Unknown),
            id if id.starts_with("V_REAL/") => ("RealVideo", Shown::Unknown),
            _ => return Self { name: None, shown: Shown::Unknown },
        };
        let has_fields = is_interlaced && matches!(shown, Shown::One);
        let is_hidden = is_encoded && matches!(shown, Shown::Vp8 | Shown::Vp9);
        let shown = match shown {
            _ if is_hidden => Shown::Unknown,
            _ if has_fields => Shown::AtMostOne,
            shown => shown,
        };
        Self { name: Some(name), shown }
    }
}

impl Shown {
    /// How many frames are shown of the one from here to `end`, which is not empty.
    pub(super) fn count(self, reader: &mut Reader<'_>, end: u64) -> io::Result<u64> {
        Ok(match self {
            Self::One | Self::AtMostOne | Self::Unknown => 1,
            // RFC 6386, 9.1: the bit show_frame.
            Self::Vp8 => reader.byte()?.map_or(0, |first| u64::from(first >> 4 & 1)),
            Self::Vp9 => {
                let Some(first) = reader.byte()? else { return Ok(0) };
                if vp9_is_shown(first) {
                    return Ok(1);
                }
                // VP9 specification, annex B: a superframe ends with a byte of its index, and holds
                // one frame that is shown.
                reader.go_to(end.saturating_sub(1))?;
                u64::from(reader.byte()?.is_some_and(|last| last & 0xe0 == 0xc0))
            }
        })
    }
}

/// VP9 specification, 6.2: frame_marker, profile, show_existing_frame, frame_type, show_frame.
fn vp9_is_shown(first: u8) -> bool {
    let is_profile_3 = first & 0x30 == 0x30;
    let (existing, shown) = if is_profile_3 { (2, 0) } else { (3, 1) };
    first >> existing & 1 == 1 || first >> shown & 1 == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vp9_frame_says_whether_it_is_shown() {
        // Marker 10, profile 00, then show_existing_frame, frame_type, show_frame, and one more.
        for (first, is_shown) in
            [(0b1000_0010, true), (0b1000_0000, false), (0b1000_0110, true), (0b1000_1000, true)]
        {
            assert_eq!(vp9_is_shown(first), is_shown, "{first:08b}");
        }
    }

    #[test]
    fn only_a_codec_with_one_frame_in_each_block_is_counted() {
        assert_eq!(Codec::new("V_MPEG4/ISO/AVC", false, false).shown, Shown::One);
        assert_eq!(Codec::new("V_MPEG4/ISO/AVC", true, false).shown, Shown::AtMostOne);
        assert_eq!(Codec::new("V_VP8", false, true).shown, Shown::Unknown);
        assert_eq!(Codec::new("V_MPEG4/ISO/ASP", false, false).name, Some("MPEG-4"));
        assert_eq!(Codec::new("V_OF_TOMORROW", false, false).name, None);
    }
}

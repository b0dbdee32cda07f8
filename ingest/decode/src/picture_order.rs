//! In which order frames are decoded and shown.

use gstreamer as gst;

use crate::nal;
use crate::sei::Framing;

/// How a codec orders its frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// The start code of a picture, and what says that it lies between others.
    Codes {
        picture: u8,
        byte: usize,
        mask: u8,
        between: u8,
    },
    H264(Framing),
    /// It usually has such frames.
    Hevc,
    Unknown,
}

impl Order {
    pub(crate) fn new(caps: &gst::CapsRef) -> Self {
        let Some(format) = caps.structure(0) else { return Self::Unknown };
        match (format.name().as_str(), format.get::<i32>("mpegversion")) {
            // ISO/IEC 14496-2, 6.2.5: vop_coding_type.
            ("video/mpeg", Ok(4)) | ("video/x-divx" | "video/x-xvid", _) => {
                Self::Codes { picture: 0xb6, byte: 0, mask: 0xc0, between: 0x80 }
            }
            // ISO/IEC 13818-2, 6.2.3: picture_coding_type.
            ("video/mpeg", _) => Self::Codes { picture: 0, byte: 1, mask: 0x38, between: 0x18 },
            ("video/x-h264", _) => framing(caps).map_or(Self::Unknown, Self::H264),
            ("video/x-h265", _) => Self::Hevc,
            _ => Self::Unknown,
        }
    }

    /// That of MPEG-1 and MPEG-2.
    pub(crate) fn of_mpeg(caps: &gst::CapsRef) -> Option<Self> {
        let order = Self::new(caps);
        matches!(order, Self::Codes { picture: 0, .. }).then_some(order)
    }

    /// How many frames may wait for those that are decoded later.
    pub(crate) fn depth(self) -> usize {
        match self {
            Self::Codes { .. } => 1,
            _ => 4,
        }
    }

    /// Whether a packet's frame is shown before one that is decoded earlier.
    pub(crate) fn is_between(self, packet: &[u8]) -> bool {
        match self {
            Self::Codes { picture, byte, mask, between } => packet
                .windows(4 + byte + 1)
                .find(|bytes| bytes[..4] == [0, 0, 1, picture])
                .is_some_and(|bytes| bytes[4 + byte] & mask == between),
            Self::H264(framing) => nal::is_between(packet, framing),
            Self::Hevc => true,
            Self::Unknown => false,
        }
    }
}

/// How packets with these caps are divided into units.
pub(crate) fn framing(caps: &gst::CapsRef) -> Option<Framing> {
    let format = caps.structure(0)?;
    let codec_data = format.get::<gst::Buffer>("codec_data").ok();
    let codec_data = codec_data.as_ref().and_then(|data| data.map_readable().ok());
    Framing::new(format.name(), format.get("stream-format").ok()?, codec_data.as_deref())
}

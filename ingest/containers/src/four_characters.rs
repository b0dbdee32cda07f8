//! Codecs as AVI and ASF name them.

/// Pictures of MPEG-4 with fewer bytes repeat the one before.
pub(crate) const SHORTEST: u32 = 10;

/// What the chunks of a codec are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Chunks {
    /// Each is one frame that is shown.
    Frames,
    /// The same, but those of fewer than [`SHORTEST`] bytes repeat the one before.
    Mpeg4,
    /// Some are fields, or not shown.
    AtMostFrames,
}

/// The name of a codec, and what its chunks are.
pub(crate) fn codec(compression: [u8; 4]) -> (Option<&'static str>, Chunks) {
    use Chunks::{AtMostFrames, Frames, Mpeg4};
    match &compression.map(|byte| byte.to_ascii_uppercase()) {
        b"H264" | b"AVC1" | b"X264" => (Some("H.264"), Frames),
        b"HEVC" | b"H265" | b"HVC1" => (Some("HEVC"), Frames),
        b"MJPG" => (Some("Motion JPEG"), Frames),
        b"FFV1" => (Some("FFV1"), Frames),
        b"HFYU" | b"FFVH" => (Some("HuffYUV"), Frames),
        b"ULRG" | b"ULRA" | b"ULY0" | b"ULY2" | b"ULY4" | b"ULH0" | b"ULH2" | b"ULH4" => {
            (Some("Ut Video"), Frames)
        }
        b"DVSD" | b"DV25" | b"DV50" | b"DVHD" => (Some("DV"), Frames),
        b"MAGY" | b"M8RG" | b"M8Y0" | b"M8Y2" | b"M8Y4" => (Some("MagicYUV"), Frames),
        b"APCN" | b"APCH" | b"APCS" | b"APCO" | b"AP4H" => (Some("ProRes"), Frames),
        b"VP80" => (Some("VP8"), AtMostFrames),
        b"VP90" => (Some("VP9"), AtMostFrames),
        b"AV01" => (Some("AV1"), AtMostFrames),
        b"XVID" | b"DIVX" | b"DX50" | b"FMP4" | b"MP4V" => (Some("MPEG-4"), Mpeg4),
        b"DIV3" | b"MP42" | b"MP43" => (Some("MS MPEG-4"), Frames),
        b"MPG1" => (Some("MPEG-1"), AtMostFrames),
        b"MPG2" | b"MPEG" => (Some("MPEG-2"), AtMostFrames),
        b"WMV1" | b"WMV2" => (Some("WMV"), Frames),
        b"WMV3" => (Some("WMV"), AtMostFrames),
        b"WVC1" | b"WMVA" => (Some("VC-1"), AtMostFrames),
        b"CVID" => (Some("Cinepak"), Frames),
        [0, 0, 0, 0] => (Some("uncompressed"), Frames),
        _ => (None, AtMostFrames),
    }
}

use gstreamer as gst;

use super::packets::{self, Choice};
use super::{Context, Image};
use crate::error::DecodeError;

const DECODERS: [Choice; 2] = [
    Choice { element: "avdec_jpeg2000", package: "gstreamer1.0-libav" },
    Choice { element: "openjpegdec", package: "gstreamer1.0-plugins-bad" },
];
/// Start of codestream, and the marker of the picture's size (ISO/IEC 15444-1, A.4.1 and A.5.1).
const START: &[u8] = &[0xff, 0x4f, 0xff, 0x51];

pub(super) fn decode(bytes: Vec<u8>, context: &Context) -> Result<Image, DecodeError> {
    let Some((width, height)) = size(&bytes) else {
        return Err(context.damaged("its header is unreadable"));
    };
    context.limit(width, height)?;
    let decoder = packets::choose(&DECODERS, "a JPEG 2000", context)?;
    let media = if bytes.starts_with(START) { "image/x-jpc" } else { "image/jp2" };
    let caps = gst::Caps::builder(media).field("framerate", gst::Fraction::new(1, 1)).build();
    let frame = packets::decode_one(&caps, &[decoder], bytes, context)?;
    Ok(Image { frame, missing: None })
}

/// The size that the first codestream states.
fn size(bytes: &[u8]) -> Option<(u32, u32)> {
    let start = bytes.windows(START.len()).position(|window| window == START)?;
    // The length of the segment and the capabilities come before it.
    let number = |index: usize| {
        let at = start + START.len() + 4 + 4 * index;
        Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
    };
    let length = |index| Some(number(index)?.saturating_sub(number(index + 2)?));
    Some((length(0)?, length(1)?))
}

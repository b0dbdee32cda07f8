use gstreamer as gst;

use super::packets::{self, Choice};
use super::{Context, Image};
use crate::error::DecodeError;

const DECODERS: [Choice; 1] = [Choice { element: "pnmdec", package: "gstreamer1.0-plugins-bad" }];

/// A bitmap, graymap or pixmap of Netpbm.
pub(super) fn decode(bytes: Vec<u8>, context: &Context) -> Result<Image, DecodeError> {
    let (width, height) =
        size(&bytes).ok_or_else(|| context.damaged("its header is unreadable"))?;
    context.limit(width, height)?;
    let decoder = packets::choose(&DECODERS, "a Netpbm", context)?;
    let media = match bytes[1] {
        b'1' | b'4' => "image/x-portable-bitmap",
        b'2' | b'5' => "image/x-portable-graymap",
        _ => "image/x-portable-pixmap",
    };
    let caps = gst::Caps::new_empty_simple(media);
    let frame = packets::decode_one(&caps, &[decoder], bytes, context)?;
    Ok(Image { frame, missing: None })
}

/// The first two numbers after the signature. Comments run to the end of their line.
fn size(bytes: &[u8]) -> Option<(u32, u32)> {
    let mut rest = bytes.get(2..)?;
    let mut number = || {
        loop {
            match rest {
                [b'#', ..] => rest = &rest[rest.iter().position(|byte| *byte == b'\n')?..],
                [byte, after @ ..] if byte.is_ascii_whitespace() => rest = after,
                _ => break,
            }
        }
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (number, after) = rest.split_at(digits);
        rest = after;
        str::from_utf8(number).ok()?.parse().ok()
    };
    Some((number()?, number()?))
}

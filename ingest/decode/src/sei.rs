//! How a stream of H.264 or HEVC says that its pictures are to be turned: a "display orientation"
//! message (ITU-T H.264, D.1.27; ITU-T H.265, D.2.17). GStreamer 1.22 does not report it.

use crate::geometry::Orientation;

/// Payload type of the message, in both codecs.
const DISPLAY_ORIENTATION: u32 = 47;
/// Messages are at the start of a packet; no more of it is searched.
const SEARCHED: usize = 64 << 10;

/// The codec, and how its packets are divided into units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Framing {
    pub(crate) codec: Codec,
    /// Bytes of the length before each unit; `None` if start codes separate the units.
    pub(crate) length_size: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Codec {
    H264,
    Hevc,
}

impl Framing {
    /// From the caps of a parser: the name, `stream-format` and `codec_data`.
    pub(crate) fn new(name: &str, stream_format: &str, codec_data: Option<&[u8]>) -> Option<Self> {
        // ISO/IEC 14496-15, 5.3.3.1 and 8.3.3.1: `lengthSizeMinusOne`.
        let (codec, at) = match name {
            "video/x-h264" => (Codec::H264, 4),
            "video/x-h265" => (Codec::Hevc, 21),
            _ => return None,
        };
        let length_size = match stream_format {
            "byte-stream" => None,
            _ => Some(usize::from(codec_data?.get(at)? & 3) + 1),
        };
        Some(Self { codec, length_size })
    }
}

/// The orientation that a packet sets. `Some` of the default orientation if it cancels an earlier
/// one.
pub(crate) fn orientation(packet: &[u8], framing: Framing) -> Option<Orientation> {
    let mut rest = &packet[..packet.len().min(SEARCHED)];
    loop {
        let start = match framing.length_size {
            Some(size) => rest.get(size..)?,
            None => after_start_code(rest)?,
        };
        let kind = framing.codec.kind(*start.first()?);
        if kind == Kind::Picture {
            // The messages of a picture precede it.
            return None;
        }
        let unit;
        (unit, rest) = match framing.length_size {
            Some(size) => split_length(rest, size)?,
            None => start.split_at(start_code(start).unwrap_or(start.len())),
        };
        if kind == Kind::Messages
            && let Some(found) = unit.get(framing.codec.header()..).and_then(in_messages)
        {
            return Some(found);
        }
    }
}

/// What a unit holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Picture,
    Messages,
    Other,
}

impl Codec {
    /// Of a unit with this first byte (H.264, table 7-1; H.265, table 7-1).
    fn kind(self, first: u8) -> Kind {
        match (self, first & 0x1f, first >> 1 & 0x3f) {
            (Self::H264, 1..=5, _) | (Self::Hevc, _, 0..=31) => Kind::Picture,
            (Self::H264, 6, _) | (Self::Hevc, _, 39) => Kind::Messages,
            _ => Kind::Other,
        }
    }

    /// Bytes of a unit's header.
    fn header(self) -> usize {
        match self {
            Self::H264 => 1,
            Self::Hevc => 2,
        }
    }
}

pub(crate) fn split_length(bytes: &[u8], size: usize) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_at_checked(size)?;
    let length = length.iter().fold(0usize, |sum, byte| sum << 8 | usize::from(*byte));
    // A unit that is longer than what is searched ends the search.
    rest.split_at_checked(length)
}

pub(crate) fn after_start_code(bytes: &[u8]) -> Option<&[u8]> {
    bytes.get(start_code(bytes)? + 3..)
}

fn start_code(bytes: &[u8]) -> Option<usize> {
    bytes.windows(3).position(|code| code == [0, 0, 1])
}

/// Searches the messages of one unit (H.264, 7.3.2.3.1; H.265, 7.3.5).
fn in_messages(unit: &[u8]) -> Option<Orientation> {
    let bytes = without_emulation_prevention(unit);
    let mut rest = &bytes[..];
    loop {
        let (kind, length);
        (kind, rest) = number(rest)?;
        (length, rest) = number(rest)?;
        let (payload, after) = rest.split_at_checked(length as usize)?;
        if kind == DISPLAY_ORIENTATION {
            return display_orientation(payload);
        }
        rest = after;
    }
}

/// A number in the coding of payload types and sizes: bytes of 255, then the remainder.
fn number(mut bytes: &[u8]) -> Option<(u32, &[u8])> {
    let mut sum = 0u32;
    loop {
        let (byte, rest) = bytes.split_first()?;
        sum = sum.checked_add(u32::from(*byte))?;
        bytes = rest;
        if *byte != 255 {
            return Some((sum, bytes));
        }
    }
}

/// Both codecs have the same first bits: cancelled, flipped horizontally, flipped vertically, and
/// the rotation in 16 bits.
fn display_orientation(payload: &[u8]) -> Option<Orientation> {
    let first = *payload.first()?;
    if first & 0x80 != 0 {
        return Some(Orientation::default());
    }
    let [a, b, c] = *payload.first_chunk::<3>()?;
    let bits = u32::from(a) << 16 | u32::from(b) << 8 | u32::from(c);
    let anticlockwise = bits >> 5 & 0xffff;
    let (horizontally, vertically) = (first & 0x40 != 0, first & 0x20 != 0);
    Some(Orientation::flipped_then_rotated(horizontally, vertically, anticlockwise))
}

/// Removes the bytes that keep a start code from appearing in a unit.
fn without_emulation_prevention(unit: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(unit.len());
    let mut zeros = 0;
    for byte in unit {
        if zeros >= 2 && *byte == 3 {
            zeros = 0;
            continue;
        }
        zeros = if *byte == 0 { zeros + 1 } else { 0 };
        bytes.push(*byte);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const START_CODES: Framing = Framing { codec: Codec::H264, length_size: None };

    /// A unit with one message: not cancelled, not flipped, turned by half.
    const HALF_TURN: [u8; 7] = [6, 47, 4, 0b0001_0000, 0, 0b0000_1000, 0x80];

    #[test]
    fn a_half_turn_is_found_with_start_codes_and_with_lengths() {
        let expected = Some(Orientation::flipped_then_rotated(false, false, 0x8000));
        let stream = [&[0, 0, 0, 1, 9, 16, 0, 0, 1], &HALF_TURN[..]].concat();
        assert_eq!(orientation(&stream, START_CODES), expected);
        let lengths = Framing { length_size: Some(4), ..START_CODES };
        let packet = [&[0, 0, 0, 2, 9, 16, 0, 0, 0, 7], &HALF_TURN[..]].concat();
        assert_eq!(orientation(&packet, lengths), expected);
    }

    #[test]
    fn a_message_after_the_picture_is_not_its() {
        let stream = [&[0, 0, 1, 0x65, 1, 2, 3, 0, 0, 1], &HALF_TURN[..]].concat();
        assert_eq!(orientation(&stream, START_CODES), None);
    }

    proptest! {
        #[test]
        fn no_input_panics(
            bytes in prop::collection::vec(prop_oneof![Just(0u8), Just(1), Just(6), any::<u8>()], 0..300),
            hevc: bool,
            size in prop::option::of(1usize..5),
        ) {
            let codec = if hevc { Codec::Hevc } else { Codec::H264 };
            orientation(&bytes, Framing { codec, length_size: size });
        }
    }
}

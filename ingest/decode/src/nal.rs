//! Which packets of H.264 and HEVC hold a picture that is shown.

use crate::sei::{Codec, Framing, after_start_code, split_length};

/// Units before a packet's picture, at most: parameters and messages.
const MOST_UNITS: usize = 256;

/// What the first slice of a packet says about its picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Picture {
    /// A picture from which decoding can start, after which others may lead (HEVC: CRA).
    Start,
    /// The same, where the pictures before it were cut away (HEVC: BLA).
    AfterCut,
    /// It is shown before the picture that decoding started from, and needs ones from before that
    /// (HEVC: RASL).
    Leading,
    Other,
}

/// The picture of a packet; `None` if it has none.
pub(crate) fn picture(packet: &[u8], framing: Framing) -> Option<Picture> {
    let mut rest = packet;
    for _ in 0..MOST_UNITS {
        let unit = match framing.length_size {
            Some(size) => rest.get(size..)?,
            None => after_start_code(rest)?,
        };
        if let Some(picture) = kind(framing.codec, *unit.first()?) {
            return Some(picture);
        }
        rest = match framing.length_size {
            Some(size) => split_length(rest, size)?.1,
            None => unit,
        };
    }
    Some(Picture::Other)
}

/// Whether the picture of a packet of H.264 has a slice of type B first (7.3.3).
pub(crate) fn is_between(packet: &[u8], framing: Framing) -> bool {
    let mut rest = packet;
    for _ in 0..MOST_UNITS {
        let unit = match framing.length_size {
            Some(size) => rest.get(size..),
            None => after_start_code(rest),
        };
        let Some(&[first, ref slice @ ..]) = unit else { return false };
        if matches!(first & 0x1f, 1..=5) {
            return matches!(slice_type(slice), Some(1 | 6));
        }
        let next = match framing.length_size {
            Some(size) => split_length(rest, size).map(|(_, rest)| rest),
            None => unit,
        };
        let Some(next) = next else { return false };
        rest = next;
    }
    false
}

/// The second of two numbers in the code of Exp-Golomb (9.1).
fn slice_type(slice: &[u8]) -> Option<u64> {
    let mut bits = u64::from_be_bytes(*slice.first_chunk()?);
    let mut number = 0;
    for _ in 0..2 {
        let zeros = bits.leading_zeros();
        if zeros >= 16 {
            return None;
        }
        bits <<= zeros;
        number = (bits >> (63 - zeros)) - 1;
        bits <<= zeros + 1;
    }
    Some(number)
}

/// Of a unit with this first byte (H.264, table 7-1; H.265, table 7-1).
fn kind(codec: Codec, first: u8) -> Option<Picture> {
    match (codec, first & 0x1f, first >> 1 & 0x3f) {
        (Codec::H264, 1..=5, _) => Some(Picture::Other),
        (Codec::H264, ..) => None,
        (Codec::Hevc, _, 8 | 9) => Some(Picture::Leading),
        (Codec::Hevc, _, 16..=18) => Some(Picture::AfterCut),
        (Codec::Hevc, _, 19..=23) => Some(Picture::Start),
        (Codec::Hevc, _, 0..=31) => Some(Picture::Other),
        (Codec::Hevc, ..) => None,
    }
}

/// Follows the pictures of a stream in decoding order.
#[derive(Debug, Default)]
pub(crate) struct Leading {
    has_started: bool,
    /// Whether leading pictures of the last start need ones that are not there (H.265, 8.1.3).
    are_unshown: bool,
}

impl Leading {
    /// Whether a picture is one that decoders do not return.
    pub(crate) fn is_unshown(&mut self, picture: Option<Picture>) -> bool {
        match picture {
            Some(Picture::Leading) => return self.are_unshown,
            Some(Picture::AfterCut) => self.are_unshown = true,
            Some(Picture::Start) => self.are_unshown = !self.has_started,
            Some(Picture::Other) | None => return false,
        }
        self.has_started = true;
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_that_lead_the_first_start_are_not_shown() {
        let framing = Framing { codec: Codec::Hevc, length_size: Some(1) };
        let packet = |kind: u8| [3, 32 << 1, 1, 0, 3, kind << 1, 1, 0];
        let mut leading = Leading::default();
        let found = [21, 9, 8, 1, 21, 9, 16, 9].map(|kind| {
            let picture = picture(&packet(kind), framing);
            assert!(picture.is_some());
            leading.is_unshown(picture)
        });
        assert_eq!(found, [false, true, true, false, false, false, false, true]);
    }

    #[test]
    fn parameters_are_no_picture() {
        for (length_size, packet) in [
            (Some(4), &[0, 0, 0, 2, 0x67, 0, 0, 0, 0, 1, 0x68][..]),
            (None, &[0, 0, 0, 1, 0x09, 0xf0, 0, 0, 1, 0x67, 1]),
            (None, &[]),
        ] {
            let framing = Framing { codec: Codec::H264, length_size };
            assert_eq!(picture(packet, framing), None);
        }
        let framing = Framing { codec: Codec::H264, length_size: None };
        assert_eq!(picture(&[0, 0, 1, 0x09, 0, 0, 1, 0x41, 1], framing), Some(Picture::Other));
    }
}

//! Headers of PES packets.

use std::ops::RangeInclusive;

/// Stream identifiers of video.
pub(super) const VIDEO: RangeInclusive<u8> = 0xe0..=0xef;

/// The header of a PES packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PesHeader {
    pub(super) stream: u8,
    /// In units of 1/90,000 s, modulo 2³³.
    pub(super) pts: Option<u64>,
    pub(super) dts: Option<u64>,
    /// Bytes up to the payload.
    pub(super) length: usize,
    /// Bytes of the packet after the first six; 0 if that is unknown.
    pub(super) size: usize,
}

impl PesHeader {
    /// ISO/IEC 13818-1, 2.4.3.6, and the older form of ISO/IEC 11172-1, 2.4.3.3.
    pub(super) fn parse(data: &[u8]) -> Option<Self> {
        let &[0, 0, 1, stream, high, low, ref rest @ ..] = data else { return None };
        let size = usize::from(u16::from_be_bytes([high, low]));
        match *rest {
            [flags, times, length, ..] if flags & 0xc0 == 0x80 => {
                let at = |offset: usize| timestamp(data.get(9 + offset..)?);
                let pts = if times & 0x80 != 0 { at(0) } else { None };
                let dts = if times & 0xc0 == 0xc0 { at(5) } else { None };
                Some(Self { stream, pts, dts, length: 9 + usize::from(length), size })
            }
            _ => Self::parse_mpeg1(stream, size, data),
        }
    }

    fn parse_mpeg1(stream: u8, size: usize, data: &[u8]) -> Option<Self> {
        let mut at = 6;
        while *data.get(at)? == 0xff && at < 6 + 16 {
            at += 1;
        }
        if data.get(at)? & 0xc0 == 0x40 {
            at += 2;
        }
        let (pts, dts, length) = match data.get(at)? >> 4 {
            2 => (timestamp(data.get(at..)?), None, at + 5),
            3 => (timestamp(data.get(at..)?), timestamp(data.get(at + 5..)?), at + 10),
            _ if *data.get(at)? == 0x0f => (None, None, at + 1),
            _ => return None,
        };
        Some(Self { stream, pts, dts, length, size })
    }

    /// When it is decoded.
    pub(super) fn decoded(&self) -> Option<u64> {
        self.dts.or(self.pts)
    }
}

/// 33 bits in five bytes with three marker bits. A damaged marker makes the time useless.
fn timestamp(data: &[u8]) -> Option<u64> {
    let &[a, b, c, d, e, ..] = data else { return None };
    if a & c & e & 1 == 0 {
        return None;
    }
    Some(
        u64::from(a >> 1 & 7) << 30
            | u64::from(b) << 22
            | u64::from(c >> 1) << 15
            | u64::from(d) << 7
            | u64::from(e >> 1),
    )
}

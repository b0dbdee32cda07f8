//! How H.264 and HEVC number their pictures.

use std::collections::BTreeMap;

use super::bits::Bits;

/// A number that starts anew after `2^bits - 1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wrapping {
    pub(super) value: u32,
    pub(super) bits: u32,
}

impl Wrapping {
    /// How far it is behind another one.
    pub(super) fn since(self, earlier: u32) -> u32 {
        self.value.wrapping_sub(earlier) & ((1 << self.bits) - 1)
    }
}

/// What a picture says of its place among others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Numbered {
    /// Whether numbers start anew with it.
    pub(super) restarts: bool,
    /// Whether it can be decoded by itself.
    pub(super) is_key: bool,
    /// The numbers of those that follow continue its numbers.
    pub(super) is_reference: bool,
    pub(super) is_second_field: bool,
    /// Its place in the order of decoding: H.264's frame_num, unless it may have gaps.
    pub(super) decoded: Option<Wrapping>,
    /// Its place in the order of showing: the lowest bits of the picture order count.
    pub(super) shown: Option<Wrapping>,
}

/// Parameter sets of a stream, which say where the numbers are.
#[derive(Clone, Debug, Default)]
pub(super) struct Parameters {
    h264: BTreeMap<u32, H264>,
    hevc: BTreeMap<u32, Hevc>,
    /// Of picture parameter sets.
    pictures: BTreeMap<u32, PictureParameters>,
    /// The last frame_num, for second fields.
    field: Option<(u32, bool)>,
}

#[derive(Clone, Copy, Debug)]
struct H264 {
    number_bits: u32,
    order_bits: Option<u32>,
    allows_gaps: bool,
    has_fields: bool,
    has_planes: bool,
}

#[derive(Clone, Copy, Debug)]
struct Hevc {
    order_bits: u32,
    has_planes: bool,
}

#[derive(Clone, Copy, Debug)]
struct PictureParameters {
    sequence: u32,
    /// HEVC: bits that precede the slice's type, and a flag behind it.
    extra_bits: u32,
    has_output_flag: bool,
}

impl Parameters {
    /// Reads a sequence parameter set of H.264, behind the header (ITU-T H.264, 7.3.2.1.1).
    pub(super) fn add_h264(&mut self, unit: &[u8]) -> Option<()> {
        let mut bits = Bits::new(unit);
        let profile = bits.bits(8)?;
        bits.skip(16)?;
        let id = bits.number().filter(|id| *id < 32)?;
        let mut has_planes = false;
        if matches!(profile, 100 | 110 | 122 | 244 | 44 | 83 | 86 | 118 | 128 | 138 | 139 | 134) {
            let chroma = bits.number()?;
            has_planes = chroma == 3 && bits.flag()?;
            bits.number()?;
            bits.number()?;
            bits.flag()?;
            if bits.flag()? {
                let lists = if chroma == 3 { 12 } else { 8 };
                (0..lists).try_for_each(|list| scaling_list(&mut bits, list < 6))?;
            }
        }
        let number_bits = bits.number()? + 4;
        let order_bits = match bits.number()? {
            0 => Some(bits.number()? + 4),
            1 => {
                bits.flag()?;
                bits.signed()?;
                bits.signed()?;
                let cycle = bits.number().filter(|cycle| *cycle < 256)?;
                (0..cycle).try_for_each(|_| bits.signed().map(drop))?;
                None
            }
            _ => None,
        };
        bits.number()?;
        let allows_gaps = bits.flag()?;
        bits.number()?;
        bits.number()?;
        let has_fields = !bits.flag()?;
        if number_bits <= 16 && order_bits.unwrap_or(4) <= 16 {
            let set = H264 { number_bits, order_bits, allows_gaps, has_fields, has_planes };
            self.h264.insert(id, set);
        }
        Some(())
    }

    /// Reads a sequence parameter set of HEVC (ITU-T H.265, 7.3.2.2.1).
    pub(super) fn add_hevc(&mut self, unit: &[u8]) -> Option<()> {
        let mut bits = Bits::new(unit);
        bits.skip(4)?;
        let layers = bits.bits(3)?;
        bits.skip(1 + 88 + 8)?;
        if layers > 0 {
            let mut length = 0;
            for layer in 0..8 {
                let (profile, level) = (bits.flag()?, bits.flag()?);
                if layer < layers {
                    length += if profile { 88 } else { 0 } + if level { 8 } else { 0 };
                }
            }
            bits.skip(length)?;
        }
        let id = bits.number().filter(|id| *id < 16)?;
        let has_planes = bits.number()? == 3 && bits.flag()?;
        bits.number()?;
        bits.number()?;
        if bits.flag()? {
            (0..4).try_for_each(|_| bits.number().map(drop))?;
        }
        bits.number()?;
        bits.number()?;
        let order_bits = bits.number()?.checked_add(4).filter(|bits| *bits <= 16)?;
        self.hevc.insert(id, Hevc { order_bits, has_planes });
        Some(())
    }

    /// Reads a picture parameter set of either (7.3.2.2, and 7.3.2.3.1).
    pub(super) fn add_picture(&mut self, unit: &[u8], is_hevc: bool) -> Option<()> {
        let mut bits = Bits::new(unit);
        let id = bits.number().filter(|id| *id < 256)?;
        let sequence = bits.number()?;
        let (mut has_output_flag, mut extra_bits) = (false, 0);
        if is_hevc {
            bits.flag()?;
            has_output_flag = bits.flag()?;
            extra_bits = bits.bits(3)?;
        }
        self.pictures.insert(id, PictureParameters { sequence, extra_bits, has_output_flag });
        Some(())
    }

    /// Reads the first slice of a picture of H.264 (7.3.3). `header` precedes it.
    pub(super) fn h264(&mut self, header: u8, slice: &[u8]) -> Option<Numbered> {
        let mut bits = Bits::new(slice);
        bits.number()?;
        let kind = bits.number()?;
        let picture = self.pictures.get(&bits.number()?)?;
        let set = *self.h264.get(&picture.sequence)?;
        if set.has_planes {
            bits.skip(2)?;
        }
        let number = bits.bits(set.number_bits)?;
        let field = if set.has_fields && bits.flag()? { Some(bits.flag()?) } else { None };
        let restarts = header & 0x1f == 5;
        if restarts {
            bits.number()?;
        }
        let shown = match set.order_bits {
            Some(order_bits) => Some(Wrapping { value: bits.bits(order_bits)?, bits: order_bits }),
            None => None,
        };
        let is_other_of =
            |(first, was_bottom)| first == number && field.is_some_and(|b| b != was_bottom);
        let is_second_field = self.field.take().is_some_and(is_other_of);
        self.field = field.filter(|_| !is_second_field).map(|is_bottom| (number, is_bottom));
        let decoded = Wrapping { value: number, bits: set.number_bits };
        Some(Numbered {
            restarts: restarts && !is_second_field,
            is_key: restarts || matches!(kind, 2 | 4 | 7 | 9),
            is_reference: header >> 5 & 3 != 0,
            is_second_field,
            decoded: (!set.allows_gaps).then_some(decoded),
            shown,
        })
    }

    /// Reads the first slice of a picture of HEVC (7.3.6.1). `kind` and `layer` are those of its
    /// unit: the type, and the temporal layer from 1.
    pub(super) fn hevc(&self, kind: u8, layer: u8, slice: &[u8]) -> Option<Numbered> {
        let mut bits = Bits::new(slice);
        let is_key = (16..=23).contains(&kind);
        bits.skip(if is_key { 2 } else { 1 })?;
        let picture = self.pictures.get(&bits.number()?)?;
        let set = self.hevc.get(&picture.sequence)?;
        bits.skip(picture.extra_bits)?;
        bits.number()?;
        if picture.has_output_flag {
            bits.skip(1)?;
        }
        if set.has_planes {
            bits.skip(2)?;
        }
        let restarts = matches!(kind, 16..=20);
        let value = if matches!(kind, 19 | 20) { 0 } else { bits.bits(set.order_bits)? };
        // Neither a leading picture nor one that no other picture of its layer needs.
        let is_reference = layer == 1 && !(6..=9).contains(&kind) && (kind > 15 || kind % 2 == 1);
        Some(Numbered {
            restarts,
            is_key,
            is_reference,
            is_second_field: false,
            decoded: None,
            shown: Some(Wrapping { value, bits: set.order_bits }),
        })
    }
}

/// The type of a slice of H.264 that starts with the first macroblock (ITU-T H.264, 7.3.3).
pub(super) fn slice_type(slice: &[u8]) -> Option<u32> {
    let bits = u32::from_be_bytes(*slice.first_chunk()?) << 1;
    let zeros = bits.leading_zeros();
    (zeros < 8).then(|| (bits << zeros >> (31 - zeros)) - 1)
}

/// ITU-T H.264, 7.3.2.1.1.1.
fn scaling_list(bits: &mut Bits, is_small: bool) -> Option<()> {
    if !bits.flag()? {
        return Some(());
    }
    let mut last: i32 = 8;
    for _ in 0..if is_small { 16 } else { 64 } {
        let next = (last + bits.signed()?).rem_euclid(256);
        if next == 0 {
            break;
        }
        last = next;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_says_its_numbers() {
        let mut parameters = Parameters::default();
        // Baseline; number 0, 4 bits each, one reference, no gaps, 1 by 1, frames only.
        let sequence = [66, 0, 10, 0b1111_0100, 0b1110_0000];
        assert!(parameters.add_h264(&sequence).is_some());
        parameters.add_picture(&[0b1100_0000], false).unwrap();
        // First, P, set 0, frame 5, shown as 10.
        let found = parameters.h264(0x41, &[0b1110_1011, 0b0100_0000]).unwrap();
        let wrapping = |value| Some(Wrapping { value, bits: 4 });
        assert_eq!((found.decoded, found.shown), (wrapping(5), wrapping(10)));
        assert!(found.is_reference && !found.is_key && !found.restarts);
        for at in 0..40 {
            let mut unit = [0xa5; 40];
            unit[at] = 0;
            parameters.add_h264(&unit[at..]);
            parameters.add_hevc(&unit[at..]);
            parameters.add_picture(&unit[at..], at % 2 == 0);
            parameters.h264(0x65, &unit[at..]);
            parameters.hevc(21, 1, &unit[at..]);
        }
    }
}

//! Bits of the units of H.264 and HEVC (ITU-T H.264, 7.2 and 9.1).

/// Bytes of a unit that are read: enough for what comes first in it.
const MOST: usize = 256;

pub(super) struct Bits {
    bytes: Vec<u8>,
    at: usize,
}

impl Bits {
    /// The content of a unit, behind its header.
    pub(super) fn new(unit: &[u8]) -> Self {
        let mut bytes = Vec::with_capacity(unit.len().min(MOST));
        let mut zeros = 0;
        for byte in unit.iter().take(MOST) {
            // Emulation prevention.
            if zeros >= 2 && *byte == 3 {
                zeros = 0;
                continue;
            }
            zeros = if *byte == 0 { zeros + 1 } else { 0 };
            bytes.push(*byte);
        }
        Self { bytes, at: 0 }
    }

    pub(super) fn flag(&mut self) -> Option<bool> {
        let byte = self.bytes.get(self.at / 8)?;
        let bit = byte >> (7 - self.at % 8) & 1;
        self.at += 1;
        Some(bit == 1)
    }

    /// A number of at most 32 bits.
    pub(super) fn bits(&mut self, count: u32) -> Option<u32> {
        (0..count).try_fold(0, |number: u32, _| Some(number << 1 | u32::from(self.flag()?)))
    }

    pub(super) fn skip(&mut self, count: u32) -> Option<()> {
        (0..count).try_for_each(|_| self.flag().map(drop))
    }

    /// A number in the Exp-Golomb code.
    pub(super) fn number(&mut self) -> Option<u32> {
        let mut zeros = 0;
        while !self.flag()? {
            zeros += 1;
            if zeros > 31 {
                return None;
            }
        }
        Some((1 << zeros) - 1 + self.bits(zeros)?)
    }

    /// The same, with a sign.
    pub(super) fn signed(&mut self) -> Option<i32> {
        let number = self.number()?;
        let half = i32::try_from(number.div_ceil(2)).ok()?;
        Some(if number % 2 == 1 { half } else { -half })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_without_emulation_prevention() {
        // 1, 010, 011, 00100, 00101, then 0x000001.
        let mut bits = Bits::new(&[0b1010_0110, 0b0100_0010, 0b1000_0000, 0, 0, 3, 1]);
        let numbers = [bits.number(), bits.number(), bits.number(), bits.number()];
        assert_eq!(numbers, [Some(0), Some(1), Some(2), Some(3)]);
        assert_eq!(bits.signed(), Some(-2));
        assert_eq!(bits.skip(7), Some(()));
        assert_eq!((bits.bits(24), bits.flag()), (Some(1), None));
        assert_eq!(Bits::new(&[0; 20]).number(), None);
    }
}

//! Counts the media objects of ASF, each of which is a frame: their numbers show which are missing
//! (Microsoft, "Advanced Systems Format Specification", 5.2).

use crate::four_characters::SHORTEST;

/// Objects that are passed over at once, at most. A larger step begins another count.
const MOST_MISSING: u32 = 100;

/// The objects of a stream.
#[derive(Clone, Debug, Default)]
pub(crate) struct Objects {
    /// All that have begun.
    pub(crate) count: u64,
    /// Those that are so short that they repeat the one before, in MPEG-4.
    pub(crate) repeats: u64,
    /// Those whose numbers are passed over.
    pub(crate) missing: u64,
    last: Option<u32>,
}

impl Objects {
    fn add(&mut self, payload: &Payload) {
        let Payload { number, number_bits, size, .. } = *payload;
        let step = self.last.map(|last| {
            let mask = u32::MAX >> (32 - number_bits);
            number.wrapping_sub(last) & mask
        });
        self.last = Some(number);
        match step {
            Some(0) => return,
            Some(step @ 2..) if step <= MOST_MISSING => self.missing += u64::from(step - 1),
            _ => {}
        }
        self.count += 1;
        self.repeats += u64::from(size.is_some_and(|size| size < SHORTEST));
    }
}

/// A piece of an object, or the whole.
#[derive(Clone, Copy, Debug)]
struct Payload {
    number: u32,
    number_bits: u32,
    /// Bytes of the object.
    size: Option<u32>,
}

/// Takes numbers from a packet's start.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn number(&mut self, bytes: usize) -> Option<u32> {
        let (taken, rest) = self.0.split_at_checked(bytes)?;
        self.0 = rest;
        let mut number = [0; 4];
        number.get_mut(..bytes)?.copy_from_slice(taken);
        Some(u32::from_le_bytes(number))
    }

    fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*byte)
    }

    fn skip(&mut self, bytes: u32) -> Option<()> {
        self.0 = self.0.get(usize::try_from(bytes).ok()?..)?;
        Some(())
    }
}

/// The length of a field whose type is two bits of `flags`.
fn width(flags: u8, shift: u8) -> usize {
    [0, 1, 2, 4][usize::from(flags >> shift & 3)]
}

/// Adds the objects in a packet to those of their streams; `None` if its structure is broken.
pub(crate) fn read(packet: &[u8], objects: &mut [(u8, Objects)]) -> Option<()> {
    let mut fields = Fields(packet);
    let mut lengths = fields.byte()?;
    if lengths & 0x80 != 0 {
        fields.skip(u32::from(lengths & 0x0f))?;
        lengths = fields.byte()?;
    }
    let properties = fields.byte()?;
    // The number of a stream is a byte.
    if width(properties, 6) != 1 {
        return None;
    }
    fields.number(width(lengths, 5))?;
    fields.number(width(lengths, 1))?;
    let padding = fields.number(width(lengths, 3))?;
    fields.skip(6)?;
    let has_several = lengths & 1 != 0;
    let payloads = if has_several { fields.byte()? } else { 1 };
    for _ in 0..payloads & 0x3f {
        let stream = fields.byte()? & 0x7f;
        let bytes = width(properties, 4);
        let number = fields.number(bytes)?;
        fields.number(width(properties, 2))?;
        let replicated = fields.number(width(properties, 0))?;
        // An object's size is the first thing that is replicated.
        let size = if replicated >= 8 {
            let size = fields.number(4)?;
            fields.skip(replicated - 4)?;
            Some(size)
        } else {
            fields.skip(replicated)?;
            None
        };
        let length = if has_several {
            fields.number(width(payloads, 6))?
        } else {
            u32::try_from(fields.0.len()).ok()?.checked_sub(padding)?
        };
        let (data, rest) = fields.0.split_at_checked(usize::try_from(length).ok()?)?;
        fields.0 = rest;
        let Some((_, objects)) = objects.iter_mut().find(|(own, _)| *own == stream) else {
            continue;
        };
        let number_bits = u32::try_from(bytes * 8).ok().filter(|bits| *bits > 0)?;
        let mut payload = Payload { number, number_bits, size };
        if replicated != 1 {
            objects.add(&payload);
            continue;
        }
        // A compressed payload: small objects one after the other, each with its length.
        let mut small = Fields(data);
        while let Some(size) = small.byte() {
            small.skip(size.into())?;
            objects.add(&Payload { size: Some(size.into()), ..payload });
            payload.number = payload.number.wrapping_add(1);
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A packet with several payloads of stream 1 that are whole objects with these numbers.
    fn packet(numbers: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x82, 0, 0, 0x01, 0x5d, 0, 0, 0, 0, 0, 0];
        packet.push(0x80 | u8::try_from(numbers.len()).unwrap());
        for number in numbers {
            packet.extend([0x81, *number, 0, 0, 0, 0, 8, 20, 0, 0, 0, 0, 0, 0, 0, 2, 0, 9, 9]);
        }
        packet
    }

    fn count(packets: &[Vec<u8>]) -> (u64, u64) {
        let mut objects = [(1, Objects::default())];
        packets.iter().for_each(|packet| read(packet, &mut objects).unwrap());
        let [(_, Objects { count, missing, .. })] = objects;
        (count, missing)
    }

    #[test]
    fn objects_are_counted_once_and_their_numbers_show_which_are_missing() {
        assert_eq!(count(&[packet(&[254, 255, 0, 0]), packet(&[0, 1])]), (4, 0));
        assert_eq!(count(&[packet(&[1, 2]), packet(&[6, 7])]), (4, 3));
        // Another recording.
        assert_eq!(count(&[packet(&[200, 201]), packet(&[100, 101])]), (4, 0));
    }

    #[test]
    fn a_packet_without_structure_is_broken() {
        let whole = packet(&[1, 2]);
        assert_eq!(read(&[0; 100], &mut []), None);
        (0..whole.len()).for_each(|end| assert_eq!(read(&whole[..end], &mut []), None));
        for at in 0..whole.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut bytes = whole.clone();
                bytes[at] = value;
                read(&bytes, &mut [(1, Objects::default())]);
            }
        }
    }
}

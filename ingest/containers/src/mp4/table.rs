//! The sample tables of a movie box.

use super::boxes::{entries, find, i32_at, u32_at, u64_at};
use super::samples::{Sample, Samples};

/// Composition offsets below this are nonsense, and so are all others in their table.
const LEAST_OFFSET: i32 = -(1 << 28);

/// Adds the samples that `stbl` lists.
pub(super) fn read(stbl: &[u8], samples: &mut Samples) {
    let Some(sizes) = Sizes::read(stbl) else { return };
    let mut times = Runs::new(find(stbl, b"stts"));
    let mut offsets = Runs::new(find(stbl, b"ctts").filter(|table| is_plausible(table)));
    let mut sync = SyncSamples::read(stbl);
    let mut dts = 0i64;
    let mut number = 0u32;
    for chunk in Chunks::read(stbl) {
        let mut offset = chunk.offset;
        for _ in 0..chunk.samples {
            if number >= sizes.count || samples.is_absurd {
                return;
            }
            let Some(size) = sizes.get(number) else { return };
            let duration = times.next().unwrap_or(0);
            // Negative durations, written by a few cameras, correct rounded times.
            let duration = if duration > i32::MAX as u32 { 1 } else { duration };
            let composition = i64::from(offsets.next().unwrap_or(0).cast_signed());
            let sample = Sample {
                offset,
                size,
                duration,
                dts,
                cts: dts.saturating_add(composition),
                description: chunk.description,
                is_sync: sync.contains(number + 1),
            };
            match sizes.fixed {
                0 => samples.add(sample),
                _ => samples.add_implicit(sample),
            }
            offset = offset.saturating_add(u64::from(size));
            dts = dts.saturating_add(i64::from(duration));
            number += 1;
        }
    }
}

fn is_plausible(ctts: &[u8]) -> bool {
    entries(ctts, 4, 8).all(|entry| i32_at(entry, 4).is_some_and(|offset| offset > LEAST_OFFSET))
}

/// `stsz` and `stz2`.
struct Sizes<'a> {
    /// The size of each sample, if it is not 0.
    fixed: u32,
    count: u32,
    /// Bits of an entry.
    bits: usize,
    table: &'a [u8],
}

impl<'a> Sizes<'a> {
    fn read(stbl: &'a [u8]) -> Option<Self> {
        if let Some(table) = find(stbl, b"stsz") {
            let fixed = u32_at(table, 4)?;
            return Some(Self { fixed, count: u32_at(table, 8)?, bits: 32, table: &table[12..] });
        }
        let table = find(stbl, b"stz2")?;
        let bits = usize::from(*table.get(7)?);
        let is_known = [4, 8, 16].contains(&bits);
        let count = u32_at(table, 8)?;
        is_known.then_some(Self { fixed: 0, count, bits, table: &table[12..] })
    }

    fn get(&self, number: u32) -> Option<u32> {
        let number = number as usize;
        match (self.fixed, self.bits) {
            (0, 4) => {
                let byte = *self.table.get(number / 2)?;
                Some(u32::from(if number.is_multiple_of(2) { byte >> 4 } else { byte & 15 }))
            }
            (0, 8) => Some(u32::from(*self.table.get(number)?)),
            (0, 16) => super::boxes::u16_at(self.table, number.checked_mul(2)?).map(u32::from),
            (0, _) => u32_at(self.table, number.checked_mul(4)?),
            (fixed, _) => Some(fixed),
        }
    }
}

/// `stts` and `ctts`: values with the number of samples that share them. The last value lasts.
struct Runs<'a> {
    entries: std::slice::ChunksExact<'a, u8>,
    left: u32,
    value: Option<u32>,
}

impl<'a> Runs<'a> {
    fn new(table: Option<&'a [u8]>) -> Self {
        Self { entries: entries(table.unwrap_or_default(), 4, 8), left: 0, value: None }
    }

    fn next(&mut self) -> Option<u32> {
        while self.left == 0 {
            let Some(entry) = self.entries.next() else { return self.value };
            self.left = u32_at(entry, 0)?;
            if self.left > 0 {
                self.value = u32_at(entry, 4);
            }
        }
        self.left -= 1;
        self.value
    }
}

/// `stss`, and QuickTime's `stps` for open groups of pictures.
struct SyncSamples<'a>([Option<std::iter::Peekable<SyncNumbers<'a>>>; 2]);

type SyncNumbers<'a> = std::iter::Map<std::slice::ChunksExact<'a, u8>, fn(&[u8]) -> u32>;

impl<'a> SyncSamples<'a> {
    fn read(stbl: &'a [u8]) -> Self {
        let number: fn(&[u8]) -> u32 = |entry| u32_at(entry, 0).unwrap_or(0);
        let read = |table: &'a [u8]| entries(table, 4, 4).map(number).peekable();
        Self([find(stbl, b"stss").map(read), find(stbl, b"stps").map(read)])
    }

    /// Whether decoding can start at a sample. Ask for ascending numbers.
    fn contains(&mut self, sample: u32) -> bool {
        let [Some(full), partial] = &mut self.0 else { return true };
        std::iter::once(full).chain(partial).any(|numbers| {
            while numbers.next_if(|number| *number < sample).is_some() {}
            numbers.peek() == Some(&sample)
        })
    }
}

struct Chunk {
    offset: u64,
    samples: u32,
    description: u32,
}

/// `stco` or `co64`, with `stsc`.
struct Chunks<'a> {
    offsets: std::slice::ChunksExact<'a, u8>,
    number: u32,
    runs: std::iter::Peekable<std::slice::ChunksExact<'a, u8>>,
    samples: u32,
    description: u32,
}

impl<'a> Chunks<'a> {
    fn read(stbl: &'a [u8]) -> Self {
        let offsets = match (find(stbl, b"co64"), find(stbl, b"stco")) {
            (Some(table), _) => entries(table, 4, 8),
            (None, table) => entries(table.unwrap_or_default(), 4, 4),
        };
        let runs = entries(find(stbl, b"stsc").unwrap_or_default(), 4, 12).peekable();
        Self { offsets, number: 0, runs, samples: 0, description: 1 }
    }
}

impl Iterator for Chunks<'_> {
    type Item = Chunk;

    fn next(&mut self) -> Option<Chunk> {
        let offset = self.offsets.next()?;
        let offset = u64_at(offset, 0).or(u32_at(offset, 0).map(u64::from))?;
        self.number += 1;
        let number = self.number;
        while let Some(run) =
            self.runs.next_if(|run| u32_at(run, 0).is_some_and(|first| first <= number))
        {
            self.samples = u32_at(run, 4)?;
            self.description = u32_at(run, 8)?.max(1);
        }
        Some(Chunk { offset, samples: self.samples, description: self.description })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_of_four_bits_are_two_in_a_byte() {
        let sizes = Sizes { fixed: 0, count: 3, bits: 4, table: &[0x12, 0x30] };
        assert_eq!([0, 1, 2, 4].map(|n| sizes.get(n)), [Some(1), Some(2), Some(3), None]);
    }

    #[test]
    fn the_last_run_lasts() {
        let table = [0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 7, 0, 0, 0, 1, 0, 0, 0, 9];
        let mut runs = Runs::new(Some(&table));
        let values: Vec<_> = std::iter::from_fn(|| runs.next()).take(5).collect();
        assert_eq!(values, [7, 7, 9, 9, 9]);
        assert_eq!(Runs::new(None).next(), None);
    }
}

//! The samples of a track.

/// One frame's data. Times are in units of the track.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sample {
    pub(super) offset: u64,
    pub(super) size: u32,
    /// Until the next one in decoding order.
    pub(super) duration: u32,
    pub(super) dts: i64,
    pub(super) cts: i64,
    /// Its sample description, from 1.
    pub(super) description: u32,
    /// Decoding can start here.
    pub(super) is_sync: bool,
}

/// The samples whose data is in the file, in decoding order.
#[derive(Debug, Default)]
pub(super) struct Samples {
    pub(super) present: Vec<Sample>,
    /// Samples whose data is not in the file.
    pub(super) missing: u64,
    /// Where the last sample ends, whether it is in the file or not.
    pub(super) end: i64,
    /// Bytes of samples that no table lists one by one.
    implicit: u64,
    file_length: u64,
    /// Whether the tables claim more than a file of this length can hold.
    pub(super) is_absurd: bool,
}

/// A sample that costs no entry of a table has at least so many bytes: otherwise a few bytes could
/// claim any number of them.
const LEAST_IMPLICIT: u32 = 16;
/// A day has fewer frames.
const MOST_SAMPLES: u64 = 8 << 20;

impl Samples {
    pub(super) fn new(file_length: u64) -> Self {
        Self { file_length, ..Self::default() }
    }

    /// Adds a sample that has an entry of its own in a table. A sample without data is not a frame.
    pub(super) fn add(&mut self, sample: Sample) {
        self.end = self.end.max(sample.cts.saturating_add(i64::from(sample.duration)));
        if sample.size == 0 {
            return;
        }
        match sample.offset.checked_add(u64::from(sample.size)) {
            Some(end) if end <= self.file_length => self.present.push(sample),
            _ => self.missing += 1,
        }
        self.is_absurd |= self.present.len() as u64 + self.missing > MOST_SAMPLES;
    }

    /// Adds one of many samples that share an entry.
    pub(super) fn add_implicit(&mut self, sample: Sample) {
        self.implicit = self.implicit.saturating_add(u64::from(sample.size));
        let is_too_much = self.implicit > self.file_length.saturating_mul(2);
        if sample.size < LEAST_IMPLICIT || is_too_much {
            self.is_absurd = true;
        } else {
            self.add(sample);
        }
    }
}

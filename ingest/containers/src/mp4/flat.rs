//! A movie with one plain track that has the samples of another.

use std::ops::Range;

use super::edits::Shown;
use super::samples::Sample;
use super::track::Track;
use crate::description::Description;

/// A longer pause between two samples does not fit in a table.
const MOST_STEP: i64 = i32::MAX as i64;
/// GStreamer refuses a larger movie box.
const MOST_BYTES: usize = 30 << 20;
const NANOSECONDS: i128 = 1_000_000_000;

/// A track as a movie without an edit list, fragments or other tracks: first
/// [`header`](Self::header), then the bytes of the original file. Its times only increase;
/// [`place`](Self::place) tells which frames are shown, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlatMovie {
    header: Vec<u8>,
    description: Option<Description>,
    timescale: u32,
    parts: Vec<FlatPart>,
    /// When the first frame is shown, in units of the track on the edited timeline.
    first: i64,
    frames: u64,
    duration: u64,
}

/// What happens with a decoded frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placed {
    /// It is only decoded because others need it.
    Hidden,
    /// It is shown, at this time in nanoseconds from the first frame that is shown.
    Shown(u64),
}

/// Samples whose times differ from those of the track by a constant. In units of the track.
#[derive(Clone, Debug, PartialEq, Eq)]
struct FlatPart {
    /// Where it starts in the flat movie.
    start: i64,
    /// Time in the flat movie minus time of decoding, and of showing, in the track.
    decoded_later: i64,
    shown_later: i64,
    /// Times of the track that are shown.
    shown: Range<i64>,
    /// Time on the edited timeline minus time in the track.
    edited_later: i64,
}

impl FlatMovie {
    /// `None` if times or tables are too large.
    pub(super) fn new(track: &Track<'_>, shown: &Shown, file_length: u64) -> Option<Self> {
        let mut writer = TableWriter::default();
        let mut parts = Vec::new();
        for part in &shown.parts {
            let mut edited_end: Option<i64> = None;
            let samples = track.samples.present.get(part.samples.clone())?;
            for group in samples.chunk_by(is_step) {
                let mut flat = FlatPart::new(group, writer.end, part.shown.clone(), part.later)?;
                let times = group.iter().map(|sample| sample.cts);
                let (least, most) = (times.clone().min()?, times.max()?);
                // Fragments whose times start again follow the ones before.
                let starts_again = |end| least.saturating_add(part.later) < end;
                if let Some(end) = edited_end.filter(|end| starts_again(*end)) {
                    flat.edited_later = end.checked_sub(least)?;
                }
                let last = i64::from(group.last()?.duration);
                edited_end = Some(most.checked_add(last)?.checked_add(flat.edited_later)?);
                writer.add(group, &flat)?;
                parts.push(flat);
            }
        }
        let first = shown.first(&track.samples.present)?;
        let duration = i128::from(shown.end.checked_sub(first)?) * NANOSECONDS;
        Some(Self {
            header: writer.finish(track, file_length)?,
            description: track.descriptions.get(8..).and_then(Description::of_quicktime),
            timescale: track.timescale,
            parts,
            first,
            frames: shown.frames,
            duration: u64::try_from(duration / i128::from(track.timescale)).ok()?,
        })
    }

    /// What stands before the bytes of the original file.
    pub fn header(&self) -> &[u8] {
        &self.header
    }

    /// What a decoder has to know before the first frame.
    pub fn description(&self) -> Option<&Description> {
        self.description.as_ref()
    }

    /// Number of frames that are shown.
    pub fn frames(&self) -> u64 {
        self.frames
    }

    /// Time from the first frame that is shown to the end, in nanoseconds, whether the data is
    /// there or not.
    pub fn duration(&self) -> u64 {
        self.duration
    }

    /// What happens with the frame at a time of the flat movie, in nanoseconds.
    pub fn place(&self, time: u64) -> Placed {
        let units = i128::from(time) * i128::from(self.timescale) + NANOSECONDS / 2;
        let time = i64::try_from(units / NANOSECONDS).unwrap_or(i64::MAX);
        let after = self.parts.partition_point(|part| part.start <= time);
        let Some(part) = after.checked_sub(1).and_then(|n| self.parts.get(n)) else {
            return Placed::Hidden;
        };
        let cts = time.saturating_sub(part.shown_later);
        if !part.shown.contains(&cts) {
            return Placed::Hidden;
        }
        let since = i128::from(cts) + i128::from(part.edited_later) - i128::from(self.first);
        let nanoseconds = since * NANOSECONDS / i128::from(self.timescale);
        Placed::Shown(u64::try_from(nanoseconds).unwrap_or(0))
    }
}

fn is_step(one: &Sample, next: &Sample) -> bool {
    next.dts.checked_sub(one.dts).is_some_and(|step| (0..=MOST_STEP).contains(&step))
}

impl FlatPart {
    fn new(samples: &[Sample], start: i64, shown: Range<i64>, edited_later: i64) -> Option<Self> {
        let first = samples.iter().map(|sample| sample.dts.min(sample.cts)).min()?;
        // No frame may be shown before it is decoded.
        let early = samples.iter().map(|sample| sample.dts.saturating_sub(sample.cts)).max()?;
        let decoded_later = start.checked_sub(first)?;
        let shown_later = decoded_later.checked_add(early.max(0))?;
        Some(Self { start, decoded_later, shown_later, shown, edited_later })
    }
}

/// Writes the tables of the flat movie's only track.
#[derive(Default)]
struct TableWriter {
    times: Runs,
    offsets: Runs,
    sync: Vec<u8>,
    sizes: Vec<u8>,
    chunks: Vec<Chunk>,
    samples: u32,
    last: Option<Last>,
    /// Where the next part starts.
    end: i64,
}

struct Last {
    dts: i64,
    duration: u32,
    /// Where its data ends.
    data_end: u64,
}

struct Chunk {
    offset: u64,
    samples: u32,
    description: u32,
}

impl TableWriter {
    fn add(&mut self, samples: &[Sample], part: &FlatPart) -> Option<()> {
        for sample in samples {
            let dts = sample.dts.checked_add(part.decoded_later)?;
            let cts = sample.cts.checked_add(part.shown_later)?;
            if let Some(last) = &self.last {
                self.times.add(u32::try_from(dts.checked_sub(last.dts)?).ok()?);
            }
            let offset = i32::try_from(cts.checked_sub(dts)?).ok()?;
            self.offsets.add(u32::try_from(offset).ok()?);
            self.sizes.extend(sample.size.to_be_bytes());
            self.samples = self.samples.checked_add(1)?;
            if sample.is_sync {
                self.sync.extend(self.samples.to_be_bytes());
            }
            let follows = self.last.as_ref().is_some_and(|last| last.data_end == sample.offset);
            match self.chunks.last_mut() {
                Some(chunk) if follows && chunk.description == sample.description => {
                    chunk.samples += 1;
                }
                _ => self.chunks.push(Chunk {
                    offset: sample.offset,
                    samples: 1,
                    description: sample.description,
                }),
            }
            let duration = sample.duration.min(i32::MAX as u32);
            let data_end = sample.offset.checked_add(u64::from(sample.size))?;
            self.last = Some(Last { dts, duration, data_end });
            self.end = self.end.max(cts.max(dts).checked_add(i64::from(duration.max(1)))?);
        }
        Some(())
    }

    fn finish(mut self, track: &Track<'_>, file_length: u64) -> Option<Vec<u8>> {
        self.times.add(self.last.as_ref()?.duration);
        let mut header = full_box(b"ftyp", &[b"isom\0\0\x02\0isomiso2mp41"]);
        // The offset of each sample depends on the length of the header, but its length does not
        // depend on them.
        let length = header.len() + self.movie(track, 0)?.len() + 16;
        if length > MOST_BYTES {
            return None;
        }
        header.extend(self.movie(track, length as u64)?);
        header.extend(1u32.to_be_bytes());
        header.extend(b"mdat");
        header.extend(file_length.checked_add(16)?.to_be_bytes());
        Some(header)
    }

    fn movie(&self, track: &Track<'_>, header_length: u64) -> Option<Vec<u8>> {
        let duration = u64::try_from(self.end).ok()?.to_be_bytes();
        let timescale = track.timescale.to_be_bytes();
        let unity = [1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30].map(i32::to_be_bytes).concat();
        let version = [1, 0, 0, 0];
        let dates = [0; 16];
        let movie_header = full_box(
            b"mvhd",
            &[
                &version,
                &dates,
                &timescale,
                &duration,
                &[0, 1, 0, 0, 1, 0],
                &[0; 10],
                &unity,
                &[0; 24],
                &[0, 0, 0, 2],
            ],
        );
        let media_header =
            full_box(b"mdhd", &[&version, &dates, &timescale, &duration, &[0x55, 0xc4, 0, 0]]);
        let handler = full_box(b"hdlr", &[&[0; 8], b"vide", &[0; 13]]);
        let url = full_box(b"url ", &[&[0, 0, 0, 1]]);
        let references = full_box(b"dref", &[&[0; 4], &[0, 0, 0, 1], &url]);
        let information = full_box(
            b"minf",
            &[
                &full_box(b"vmhd", &[&[0, 0, 0, 1], &[0; 8]]),
                &full_box(b"dinf", &[&references]),
                &self.tables(track, header_length)?,
            ],
        );
        let media = full_box(b"mdia", &[&media_header, &handler, &information]);
        let track = full_box(b"trak", &[&full_box(b"tkhd", &[&track.header]), &media]);
        Some(full_box(b"moov", &[&movie_header, &track]))
    }

    fn tables(&self, track: &Track<'_>, header_length: u64) -> Option<Vec<u8>> {
        let mut offsets = Vec::with_capacity(self.chunks.len() * 8);
        let mut chunks = Vec::new();
        let mut before = None;
        let mut runs = 0u32;
        for (n, chunk) in (1u32..).zip(&self.chunks) {
            offsets.extend(chunk.offset.checked_add(header_length)?.to_be_bytes());
            let shape = (chunk.samples, chunk.description);
            if before.replace(shape) != Some(shape) {
                runs += 1;
                chunks.extend([n, chunk.samples, chunk.description].map(u32::to_be_bytes).concat());
            }
        }
        let version = [0; 4];
        let samples = self.samples.to_be_bytes();
        let chunk_count = u32::try_from(self.chunks.len()).ok()?.to_be_bytes();
        let sync_count = u32::try_from(self.sync.len() / 4).ok()?;
        let sync = full_box(b"stss", &[&version, &sync_count.to_be_bytes(), &self.sync]);
        Some(full_box(
            b"stbl",
            &[
                &full_box(b"stsd", &[track.descriptions]),
                &full_box(b"stts", &[&version, &self.times.count(), &self.times.entries()]),
                &full_box(b"ctts", &[&version, &self.offsets.count(), &self.offsets.entries()]),
                if sync_count == self.samples { &[] } else { &sync },
                &full_box(b"stsc", &[&version, &runs.to_be_bytes(), &chunks]),
                &full_box(b"stsz", &[&version, &[0; 4], &samples, &self.sizes]),
                &full_box(b"co64", &[&version, &chunk_count, &offsets]),
            ],
        ))
    }
}

/// Values with the number of samples that share them.
#[derive(Default)]
struct Runs(Vec<(u32, u32)>);

impl Runs {
    fn add(&mut self, value: u32) {
        match self.0.last_mut() {
            Some((count, last)) if *last == value => *count += 1,
            _ => self.0.push((1, value)),
        }
    }

    fn count(&self) -> [u8; 4] {
        // There are fewer than samples.
        u32::try_from(self.0.len()).unwrap_or(u32::MAX).to_be_bytes()
    }

    fn entries(&self) -> Vec<u8> {
        let entry = |(count, value): &(u32, u32)| [count.to_be_bytes(), value.to_be_bytes()];
        self.0.iter().flat_map(entry).flatten().collect()
    }
}

fn full_box(kind: &[u8; 4], content: &[&[u8]]) -> Vec<u8> {
    let length = 8 + content.iter().map(|part| part.len()).sum::<usize>();
    let mut bytes = Vec::with_capacity(length);
    // Larger ones are refused.
    bytes.extend(u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
    bytes.extend(kind);
    content.iter().for_each(|part| bytes.extend(*part));
    bytes
}

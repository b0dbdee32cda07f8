//! Reads the video of damaged Flash Video: past a damage, it resumes at the next tag.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use crate::contents::Fault;
use crate::pes::PesPacket;

const VIDEO: u8 = 9;
/// A tag's header, and the length of the tag that follows it.
const HEADER: usize = 11;
const TRAILER: u64 = 4;
/// A file's header, with the length of no tag behind it.
const FILE_HEADER: u64 = 13;
const BLOCK: usize = 256 << 10;
/// Where times start, in milliseconds: frames may be shown before they are decoded.
const START: i64 = 10_000;
/// Times that jump by more than this belong to another recording, or are damaged.
const JUMP: i64 = 10_000;
/// Bytes of a truncated unit of H.264 that may hold something of a picture.
const SHORTEST_UNIT: usize = 16;
/// How long a frame whose time is unknown is shown.
const FRAME: i64 = 40;

/// A video codec of Flash Video.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FlvCodec {
    /// H.264, with its configuration record.
    H264(Vec<u8>),
    /// Sorenson's H.263.
    Sorenson,
}

/// The video of a Flash Video file that is damaged, or consists of several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlvVideo {
    /// Its codec.
    pub codec: FlvCodec,
    /// How many frames there are.
    pub frames: u64,
    /// What is wrong with the file.
    pub faults: Vec<Fault>,
}

/// The frames of such a video, in decoding order.
pub struct FlvPackets {
    tags: Tags,
    /// The last time in the file and on the timeline, in milliseconds.
    last: Option<(i64, i64)>,
    step: i64,
    /// Bytes before each unit of H.264, which hold its length.
    length_size: usize,
}

/// A tag that holds video. Its data may be truncated.
struct Tag {
    /// In milliseconds.
    time: i64,
    data: Vec<u8>,
}

impl FlvVideo {
    /// Reads a file; `None` if it is a whole one, or in another format or codec.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub fn open_damaged(file: File) -> io::Result<Option<Self>> {
        let mut tags = Tags::new(file)?;
        if !tags.is_at_header(0)? {
            return Ok(None);
        }
        let mut codec = None;
        let mut frames = 0;
        while let Some(tag) = tags.next()? {
            match *tag.data {
                [kind, 0, _, _, _, ref config @ ..] if kind & 0x8f == 7 && codec.is_none() => {
                    codec = Some(FlvCodec::H264(config.to_vec()));
                }
                [kind, 1, ..] if kind & 0x8f == 7 => frames += 1,
                [kind, ..] if kind & 0x8f == 2 => {
                    codec = codec.or(Some(FlvCodec::Sorenson));
                    frames += 1;
                }
                _ => {}
            }
        }
        let gaps = tags.gaps;
        let missing = tags.missing;
        if gaps == 0 && missing == 0 && tags.recordings < 2 {
            return Ok(None);
        }
        let faults = [
            (gaps > 0).then_some(Fault::PacketsLost { gaps }),
            (missing > 0).then_some(Fault::Truncated { missing }),
        ];
        let faults = faults.into_iter().flatten().collect();
        Ok(codec.filter(|_| frames > 0).map(|codec| Self { codec, frames, faults }))
    }

    /// Its frames.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub fn packets(file: File) -> io::Result<FlvPackets> {
        Ok(FlvPackets { tags: Tags::new(file)?, last: None, step: FRAME, length_size: 4 })
    }
}

impl FlvPackets {
    /// Where a decoding time lies on the timeline.
    fn place(&mut self, time: i64) -> i64 {
        let placed = match self.last {
            None => START,
            Some((last, placed)) => {
                let step = time - last;
                if (0..=JUMP).contains(&step) {
                    self.step = step.max(1);
                    placed + step
                } else {
                    placed + self.step
                }
            }
        };
        self.last = Some((time, placed));
        placed
    }

    fn packet(&mut self, Tag { time, mut data }: Tag) -> Option<PesPacket> {
        let (delay, from) = match *data {
            [kind, 0, _, _, _, _, _, _, _, size, ..] if kind & 0x8f == 7 => {
                self.length_size = usize::from(size & 3) + 1;
                return None;
            }
            [kind, 1, a, b, c, ..] if kind & 0x8f == 7 => {
                let used = fit_last_unit(data.get_mut(5..)?, self.length_size);
                data.truncate(5 + used);
                if used == 0 {
                    return None;
                }
                (i64::from(i32::from_be_bytes([a, b, c, 0]) >> 8), 5)
            }
            [kind, _, ..] if kind & 0x8f == 2 => (0, 1),
            _ => return None,
        };
        let decoded = self.place(time);
        let delay = if delay.abs() > JUMP { 0 } else { delay };
        let nanoseconds = |time: i64| u64::try_from(time).ok().map(|time| time * 1_000_000);
        let (pts, dts) = (nanoseconds(decoded + delay), nanoseconds(decoded));
        Some(PesPacket { pts, dts, data: data.get(from..)?.to_vec() })
    }
}

/// Makes the last unit end where its data does: a parser would discard all of them. Returns how
/// many bytes are of use: a unit with less than a slice's header would make the decoder lose the
/// frames before it, too.
fn fit_last_unit(mut units: &mut [u8], length_size: usize) -> usize {
    let mut used = 0;
    while let Some((length, rest)) = units.split_at_mut_checked(length_size) {
        let size = length.iter().fold(0, |size, byte| size << 8 | usize::from(*byte));
        let available = rest.len();
        if size > available && available < SHORTEST_UNIT {
            return used;
        }
        if size > available {
            let bytes = available.to_be_bytes();
            length.copy_from_slice(&bytes[bytes.len() - length_size..]);
            return used + length_size + available;
        }
        used += length_size + size;
        units = &mut rest[size..];
    }
    used
}

impl Iterator for FlvPackets {
    type Item = io::Result<PesPacket>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.tags.next() {
                Ok(Some(tag)) => {
                    if let Some(packet) = self.packet(tag) {
                        return Some(Ok(packet));
                    }
                }
                Ok(None) => return None,
                Err(error) => {
                    self.tags.at = self.tags.length;
                    return Some(Err(error));
                }
            }
        }
    }
}

/// Reads tags, and finds the next one after a damage.
struct Tags {
    file: File,
    length: u64,
    at: u64,
    block: Vec<u8>,
    start: u64,
    gaps: u64,
    /// Bytes that the last tag lacks.
    missing: u64,
    recordings: u64,
}

/// What a plausible header of a tag says.
#[derive(Clone, Copy)]
struct Head {
    is_video: bool,
    /// Of the data.
    size: u64,
    time: i64,
}

impl Tags {
    fn new(file: File) -> io::Result<Self> {
        let length = file.metadata()?.len();
        let block = Vec::new();
        Ok(Self { file, length, at: 0, block, start: 0, gaps: 0, missing: 0, recordings: 0 })
    }

    fn next(&mut self) -> io::Result<Option<Tag>> {
        while self.at < self.length {
            if self.is_at_header(self.at)? {
                self.at += FILE_HEADER;
                self.recordings += 1;
                continue;
            }
            let (from, head) = (self.at, self.head(self.at)?);
            let mut end = self.length;
            match head {
                Some(head) if self.is_whole(from, head)? => {
                    end = from + HEADER as u64 + head.size;
                    self.at = end + TRAILER;
                    self.missing = self.at.saturating_sub(self.length);
                }
                Some(head) if from + HEADER as u64 + head.size > self.length => {
                    match self.resume(from + 1)? {
                        Some(next) => {
                            self.gaps += 1;
                            (self.at, end) = (next, next);
                        }
                        None => {
                            self.missing = from + HEADER as u64 + head.size - self.length;
                            self.at = self.length;
                        }
                    }
                }
                _ => {
                    let next = self.resume(from + 1)?;
                    let is_padding = next.is_none() && self.is_zero(from)?;
                    self.gaps += u64::from(!is_padding);
                    self.at = next.unwrap_or(self.length);
                    end = self.at;
                }
            }
            let Some(head) = head.filter(|head| head.is_video) else { continue };
            let data = from + HEADER as u64;
            let size = head.size.min(end.saturating_sub(data));
            return Ok(Some(Tag { time: head.time, data: self.bytes(data, size)? }));
        }
        Ok(None)
    }

    fn is_at_header(&mut self, at: u64) -> io::Result<bool> {
        Ok(matches!(self.look(at)?, [b'F', b'L', b'V', 1, _, 0, 0, 0, 9, ..]))
    }

    /// Whether a tag is followed by its length, or by another one.
    fn is_whole(&mut self, at: u64, head: Head) -> io::Result<bool> {
        let end = at + HEADER as u64 + head.size;
        if end > self.length {
            return Ok(false);
        }
        let next = end + TRAILER;
        Ok(next >= self.length
            || self.ends_in_its_length(end, head)?
            || self.head(next)?.is_some_and(|next| (head.time - next.time).abs() < JUMP))
    }

    fn ends_in_its_length(&self, end: u64, head: Head) -> io::Result<bool> {
        let mut trailer = [0; 4];
        if end + TRAILER > self.length {
            return Ok(false);
        }
        self.file.read_exact_at(&mut trailer, end)?;
        Ok(u64::from(u32::from_be_bytes(trailer)) == head.size + HEADER as u64)
    }

    /// The next place where a tag lies that is certainly one, or a file's header.
    fn resume(&mut self, from: u64) -> io::Result<Option<u64>> {
        for at in from..self.length {
            let is_one = match self.head(at)? {
                Some(head) => self.ends_in_its_length(at + HEADER as u64 + head.size, head)?,
                None => self.is_at_header(at)?,
            };
            if is_one {
                return Ok(Some(at));
            }
        }
        Ok(None)
    }

    fn head(&mut self, at: u64) -> io::Result<Option<Head>> {
        Ok(match *self.look(at)? {
            [kind @ (8 | VIDEO | 18), a, b, c, d, e, f, g, 0, 0, 0, ..] => Some(Head {
                is_video: kind == VIDEO,
                size: u64::from(u32::from_be_bytes([0, a, b, c])),
                time: i64::from(u32::from_be_bytes([g, d, e, f])),
            }),
            _ => None,
        })
    }

    fn is_zero(&mut self, from: u64) -> io::Result<bool> {
        let mut at = from;
        while at < self.length {
            let bytes = self.look(at)?;
            if bytes.iter().any(|byte| *byte != 0) {
                return Ok(false);
            }
            at += bytes.len().max(1) as u64;
        }
        Ok(true)
    }

    /// The bytes from a place on that are in memory; at least a header, unless the file ends.
    fn look(&mut self, at: u64) -> io::Result<&[u8]> {
        let end = self.start + self.block.len() as u64;
        let wanted = (at + HEADER as u64).min(self.length);
        if at < self.start || wanted > end {
            self.block = self.bytes(at, BLOCK as u64)?;
            self.start = at;
        }
        let from = usize::try_from(at.saturating_sub(self.start)).unwrap_or(usize::MAX);
        Ok(self.block.get(from..).unwrap_or_default())
    }

    /// At most `size` bytes: fewer at the end of the file.
    fn bytes(&self, at: u64, size: u64) -> io::Result<Vec<u8>> {
        let size = size.min(self.length.saturating_sub(at));
        // Not longer than the file, nor than a tag or a block.
        let mut bytes = vec![0; usize::try_from(size).unwrap_or_default()];
        self.file.read_exact_at(&mut bytes, at)?;
        Ok(bytes)
    }
}

//! Matroska and WebM (RFC 9559): its tracks, and the blocks of each.
//!
//! The file is walked from one element to the next. Of a block only its header is read, so reading
//! a film costs as many small reads as it has blocks.

mod codec;
mod ebml;
mod index;
mod private;
mod projection;
mod search;

use std::fs::File;
use std::io;

use self::codec::{Codec, Shown};
use self::ebml::Element;
pub use self::index::{Replacement, without_index};
pub use self::private::description;
pub use self::projection::{Rotation, rotation};
use crate::avi::{USER_DATA, is_packed};
use crate::contents::{Container, Contents, Fault, VideoTrack};
use crate::reader::Reader;

/// The first bytes of a Matroska file: the identifier of the EBML header.
pub(crate) const SIGNATURE: [u8; 4] = [0x1a, 0x45, 0xdf, 0xa3];

/// More tracks than any file has. Blocks of further ones are not counted.
const MOST_TRACKS: usize = 1000;
/// How many files one behind the other are told apart.
const MOST_PARTS: usize = 256;

const EBML: u32 = 0x1a45_dfa3;
const SEGMENT: u32 = 0x1853_8067;
const SEEK_HEAD: u32 = 0x114d_9b74;
const INFO: u32 = 0x1549_a966;
const TIMESTAMP_SCALE: u32 = 0x2a_d7b1;
const TRACKS: u32 = 0x1654_ae6b;
const TRACK_ENTRY: u32 = 0xae;
const TRACK_NUMBER: u32 = 0xd7;
const TRACK_TYPE: u32 = 0x83;
const FLAG_ENABLED: u32 = 0xb9;
const FLAG_DEFAULT: u32 = 0x88;
const CODEC_ID: u32 = 0x86;
const VIDEO: u32 = 0xe0;
const FLAG_INTERLACED: u32 = 0x9a;
const CONTENT_ENCODINGS: u32 = 0x6d80;
const CLUSTER: u32 = 0x1f43_b675;
const TIMESTAMP: u32 = 0xe7;
const SIMPLE_BLOCK: u32 = 0xa3;
const BLOCK_GROUP: u32 = 0xa0;
const BLOCK: u32 = 0xa1;
const CUES: u32 = 0x1c53_bb6b;
const CHAPTERS: u32 = 0x1043_a770;
const TAGS: u32 = 0x1254_c367;
const ATTACHMENTS: u32 = 0x1941_a469;

const VIDEO_TYPE: u64 = 1;

pub(crate) fn inspect(file: &mut File) -> io::Result<Contents> {
    let mut walk = Walk {
        reader: Reader::new(file)?,
        tracks: Vec::new(),
        parts: Vec::new(),
        scale: 1_000_000,
        missing: 0,
        damaged_at: None,
        is_uncertain: false,
    };
    walk.file()?;
    Ok(walk.finish())
}

/// What a walk through a file has found so far.
struct Walk<'a> {
    reader: Reader<'a>,
    /// The video tracks of all parts, the first part's first.
    tracks: Vec<Track>,
    /// Where the first file starts, and each that is appended to it.
    parts: Vec<u64>,
    /// Nanoseconds in a tick.
    scale: u64,
    /// Bytes that are missing at the end.
    missing: u64,
    damaged_at: Option<u64>,
    /// Whether there are blocks that were not counted.
    is_uncertain: bool,
}

struct Track {
    part: usize,
    number: u64,
    codec: Codec,
    is_default: bool,
    is_packed: bool,
    frames: u64,
    /// In ticks of the segment.
    start: Option<u64>,
    scale: u64,
}

#[derive(Default)]
struct TrackEntry {
    number: Option<u64>,
    is_video: bool,
    is_disabled: bool,
    is_not_default: bool,
    is_interlaced: bool,
    is_encoded: bool,
    codec: String,
}

impl Walk<'_> {
    /// Walks through all files that are appended to each other.
    fn file(&mut self) -> io::Result<()> {
        while self.reader.position() < self.reader.length() && self.damaged_at.is_none() {
            let Some(element) = self.reader.element()? else { return Ok(()) };
            match element.id {
                EBML if element.end.is_some() => {
                    if self.parts.len() == MOST_PARTS {
                        self.is_uncertain = true;
                        return Ok(());
                    }
                    self.parts.push(element.start);
                    self.skip(&element)?;
                }
                SEGMENT => self.segment(&element)?,
                id if belongs_to_segment(id) => {
                    self.is_uncertain = true;
                    return Ok(());
                }
                // Padding, and whatever follows the film.
                _ if element.end.is_some_and(|end| end <= self.reader.length()) => {
                    self.skip(&element)?;
                }
                _ => return Ok(()),
            }
        }
        Ok(())
    }

    fn segment(&mut self, segment: &Element) -> io::Result<()> {
        let end = segment.end.unwrap_or(u64::MAX);
        self.check_length(segment);
        self.scale = 1_000_000;
        while let Some(element) = self.child(end)? {
            match element.id {
                // The segment has no length, and another file follows.
                EBML | SEGMENT if segment.end.is_none() => {
                    return self.reader.go_to(element.start);
                }
                INFO => self.info(&element)?,
                TRACKS => self.track_list(&element)?,
                CLUSTER => self.cluster(&element, end)?,
                _ => self.skip(&element)?,
            }
        }
        Ok(())
    }

    fn info(&mut self, info: &Element) -> io::Result<()> {
        let end = info.end.unwrap_or(info.data);
        while let Some(element) = self.child(end)? {
            if element.id == TIMESTAMP_SCALE {
                self.scale = self.reader.unsigned(&element)?.unwrap_or(self.scale);
            }
            self.skip(&element)?;
        }
        Ok(())
    }

    fn track_list(&mut self, tracks: &Element) -> io::Result<()> {
        let end = tracks.end.unwrap_or(tracks.data);
        while let Some(element) = self.child(end)? {
            if element.id == TRACK_ENTRY {
                self.track_entry(&element)?;
            }
            self.skip(&element)?;
        }
        Ok(())
    }

    fn track_entry(&mut self, entry: &Element) -> io::Result<()> {
        let end = entry.end.unwrap_or(entry.data);
        let mut track = TrackEntry::default();
        while let Some(element) = self.child(end)? {
            let reader = &mut self.reader;
            match element.id {
                TRACK_NUMBER => track.number = reader.unsigned(&element)?,
                TRACK_TYPE => track.is_video = reader.unsigned(&element)? == Some(VIDEO_TYPE),
                FLAG_ENABLED => track.is_disabled = reader.unsigned(&element)? == Some(0),
                FLAG_DEFAULT => track.is_not_default = reader.unsigned(&element)? == Some(0),
                CODEC_ID => track.codec = reader.text(&element)?.unwrap_or_default(),
                CONTENT_ENCODINGS => track.is_encoded = true,
                VIDEO => track.is_interlaced |= self.is_interlaced(&element)?,
                _ => {}
            }
            self.skip(&element)?;
        }
        let part = self.parts.len();
        let is_new = !self
            .tracks
            .iter()
            .any(|known| known.part == part && Some(known.number) == track.number);
        if let Some(number) = track.number
            && track.is_video
            && is_new
            && self.tracks.len() < MOST_TRACKS
        {
            self.tracks.push(Track {
                part,
                number,
                codec: Codec::new(&track.codec, track.is_interlaced, track.is_encoded),
                is_default: !track.is_not_default && !track.is_disabled,
                is_packed: false,
                frames: 0,
                start: None,
                scale: self.scale,
            });
        }
        Ok(())
    }

    fn is_interlaced(&mut self, video: &Element) -> io::Result<bool> {
        let end = video.end.unwrap_or(video.data);
        let mut is_interlaced = false;
        while let Some(element) = self.child(end)? {
            if element.id == FLAG_INTERLACED {
                is_interlaced = self.reader.unsigned(&element)? == Some(1);
            }
            self.skip(&element)?;
        }
        Ok(is_interlaced)
    }

    /// `segment_end` is where it ends at the latest.
    fn cluster(&mut self, cluster: &Element, segment_end: u64) -> io::Result<()> {
        let end = cluster.end.unwrap_or(segment_end);
        let mut timestamp = 0;
        while let Some(element) = self.child(end)? {
            match element.id {
                TIMESTAMP => timestamp = self.reader.unsigned(&element)?.unwrap_or(0),
                SIMPLE_BLOCK => self.block(&element, timestamp)?,
                BLOCK_GROUP => {
                    let end = element.end.unwrap_or(element.data);
                    while let Some(inner) = self.child(end)? {
                        if inner.id == BLOCK {
                            self.block(&inner, timestamp)?;
                        }
                        self.skip(&inner)?;
                    }
                }
                id if cluster.end.is_none() && belongs_to_segment(id) => {
                    return self.reader.go_to(element.start);
                }
                _ => {}
            }
            self.skip(&element)?;
        }
        Ok(())
    }

    fn block(&mut self, block: &Element, timestamp: u64) -> io::Result<()> {
        // A block of which the end is missing cannot be decoded.
        let Some(end) = block.end.filter(|end| *end <= self.reader.length()) else {
            return Ok(());
        };
        let Some((number, _)) = self.reader.number()? else { return Ok(()) };
        let mut header = [0; 3];
        if self.reader.fill(&mut header)? < header.len() {
            return Ok(());
        }
        let part = self.parts.len();
        let known = |track: &Track| track.part == part && track.number == number;
        let Some(index) = self.tracks.iter().position(known) else { return Ok(()) };
        let [high, low, flags] = header;
        self.recognise_packed(index, end)?;
        let frames = match flags & 0x06 {
            0 if self.reader.position() >= end => 0,
            0 => match self.tracks.get(index).map(|track| track.codec.shown) {
                Some(shown) => shown.count(&mut self.reader, end)?,
                None => 0,
            },
            // Several frames, of which the first byte is the number without one.
            _ => u64::from(self.reader.byte()?.unwrap_or(0)) + 1,
        };
        if let Some(track) = self.tracks.get_mut(index) {
            let time = timestamp.saturating_add_signed(i16::from_be_bytes([high, low]).into());
            track.start = Some(track.start.map_or(time, |start| start.min(time)));
            track.frames += frames;
        }
        Ok(())
    }

    /// Whether a track is a "packed" stream of MPEG-4, which its first block shows.
    fn recognise_packed(&mut self, index: usize, end: u64) -> io::Result<()> {
        let Some(track) = self.tracks.get_mut(index) else { return Ok(()) };
        if track.frames > 0 || track.codec.shown != Shown::Unknown {
            return Ok(());
        }
        let from = self.reader.position();
        let length = usize::try_from(end.saturating_sub(from)).unwrap_or(USER_DATA);
        let mut start = vec![0; length.min(USER_DATA)];
        let filled = self.reader.fill(&mut start)?;
        track.is_packed = is_packed(&start[..filled]);
        self.reader.go_to(from)
    }

    /// The next element before `end`; `None` if there is none, or after a fault.
    fn child(&mut self, end: u64) -> io::Result<Option<Element>> {
        let start = self.reader.position();
        if start >= end.min(self.reader.length()) || self.damaged_at.is_some() {
            return Ok(None);
        }
        let element = self.reader.element()?;
        match element {
            Some(element) if element.end.is_none_or(|element_end| element_end <= end) => {
                self.check_length(&element);
                Ok(Some(element))
            }
            _ if self.reader.position() >= self.reader.length() => {
                self.missing = self.missing.max(1);
                Ok(None)
            }
            _ => {
                self.damaged_at = Some(start);
                Ok(None)
            }
        }
    }

    /// Moves behind an element. One without a length that has not been walked through cannot be
    /// skipped.
    fn skip(&mut self, element: &Element) -> io::Result<()> {
        match element.end {
            Some(end) => self.reader.go_to(end),
            None => {
                self.damaged_at.get_or_insert(element.start);
                Ok(())
            }
        }
    }

    fn check_length(&mut self, element: &Element) {
        let missing = element.end.unwrap_or(0).saturating_sub(self.reader.length());
        self.missing = self.missing.max(missing);
    }

    fn finish(self) -> Contents {
        let Self { tracks: found, parts, missing, damaged_at, is_uncertain, reader, .. } = self;
        let is_counted = !is_uncertain && damaged_at.is_none();
        let of_part = |part: usize| found.iter().filter(move |track| track.part == part);
        let tracks = of_part(1)
            .enumerate()
            .map(|(index, track)| {
                // An appended file has its own numbers: its tracks are told apart by their order.
                let all = || (1..=parts.len()).filter_map(|part| of_part(part).nth(index));
                let is_countable = all().all(|track| track.codec.shown != Shown::Unknown);
                let is_exact = all().all(|track| track.codec.shown != Shown::AtMostOne);
                let frames = all().map(|track| track.frames).sum();
                VideoTrack {
                    number: u32::try_from(index + 1).unwrap_or(u32::MAX),
                    codec: track.codec.name,
                    is_default: track.is_default,
                    frames: (is_counted && is_countable).then_some(frames),
                    maybe_hidden: if is_exact { 0 } else { frames },
                    is_packed: all().any(|track| track.is_packed),
                    start: track.start.map(|start| start.saturating_mul(track.scale)),
                }
            })
            .collect();
        let truncated = (missing > 0).then_some(Fault::Truncated { missing });
        let damaged = damaged_at.map(|at| Fault::Damaged { at });
        Contents {
            container: Container::Matroska,
            tracks,
            faults: truncated.into_iter().chain(damaged).collect(),
            parts,
            length: reader.length(),
        }
    }
}

fn belongs_to_segment(id: u32) -> bool {
    matches!(
        id,
        CLUSTER | CUES | TAGS | CHAPTERS | ATTACHMENTS | INFO | TRACKS | SEEK_HEAD | EBML | SEGMENT
    )
}

#[cfg(test)]
mod tests;

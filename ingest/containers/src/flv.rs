//! Flash Video (Adobe Flash Video File Format Specification 10.1, annex E).

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use crate::contents::{Container, Contents, Fault, VideoTrack};

const VIDEO: u8 = 9;
/// A tag's header, the first bytes of its video, and the length that follows it.
const HEADER: usize = 11;
const VIDEO_HEADER: usize = 5;
const BLOCK: usize = 256 << 10;

/// The signature and version.
pub(crate) fn is_one(start: &[u8]) -> bool {
    start.starts_with(b"FLV\x01")
}

/// Counts the frames of a file.
pub(crate) fn inspect(file: &mut File) -> io::Result<Contents> {
    let mut head = [0; 9];
    file.rewind()?;
    let length = file.seek(SeekFrom::End(0))?;
    file.rewind()?;
    file.read_exact(&mut head)?;
    let mut tags = Tags { file, length, block: Vec::new(), start: 0 };
    let mut frames = Frames::default();
    let mut faults = Vec::new();
    let mut at = u64::from(u32::from_be_bytes([head[5], head[6], head[7], head[8]])) + 4;
    while at < length {
        let Some(tag) = tags.header(at)? else {
            faults.push(Fault::Truncated { missing: HEADER as u64 - (length - at) });
            break;
        };
        let size = u64::from(u32::from_be_bytes([0, tag[1], tag[2], tag[3]]));
        let end = at + HEADER as u64 + size;
        // Zeros are padding; anything else that is not a tag ends what can be counted.
        if !matches!(tag[0] & 0x1f, 8 | VIDEO | 18) || tag[8..HEADER] != [0, 0, 0] {
            frames.is_uncountable = true;
            break;
        }
        if end > length {
            faults.push(Fault::Truncated { missing: end - length });
            frames.is_uncountable = true;
            break;
        }
        if tag[0] & 0x1f == VIDEO && size > 0 {
            let time = u32::from_be_bytes([tag[7], tag[4], tag[5], tag[6]]);
            let used = VIDEO_HEADER.min(usize::try_from(size).unwrap_or(VIDEO_HEADER));
            frames.add(time, &tag[HEADER..HEADER + used]);
        }
        at = end + 4;
    }
    Ok(Contents {
        container: Container::Flv,
        tracks: frames.track().into_iter().collect(),
        faults,
        parts: Vec::new(),
        length,
    })
}

#[derive(Default)]
struct Frames {
    codec: Option<&'static str>,
    count: u64,
    start: Option<u64>,
    is_uncountable: bool,
}

impl Frames {
    fn add(&mut self, time: u32, video: &[u8]) {
        let Some(first) = video.first() else { return };
        let (is_frame, codec) = if first & 0x80 != 0 {
            // Enhanced RTMP, version 1: a packet type, and the codec's four characters.
            let codec = match video.get(1..) {
                Some([b'h', b'v', b'c', b'1', ..]) => Some("HEVC"),
                Some([b'a', b'v', b'0', b'1', ..]) => Some("AV1"),
                Some([b'v', b'p', b'0', b'9', ..]) => Some("VP9"),
                Some([b'a', b'v', b'c', b'1', ..]) => Some("H.264"),
                _ => None,
            };
            (matches!(first & 0x0f, 1 | 3), codec)
        } else if first >> 4 == 5 {
            return;
        } else {
            match first & 0x0f {
                2 => (true, Some("Sorenson H.263")),
                3 | 6 => (true, Some("Screen Video")),
                4 | 5 => (true, Some("VP6")),
                7 => (video.get(1) == Some(&1), Some("H.264")),
                12 => (video.get(1) == Some(&1), Some("HEVC")),
                _ => (true, None),
            }
        };
        // Several codecs, or one whose packets need not be frames.
        let is_same = self.codec.is_none() || self.codec == codec;
        self.is_uncountable |= !is_same || !matches!(codec, Some("H.264" | "HEVC"));
        self.codec = codec;
        if is_frame {
            self.count += 1;
            let time = u64::from(time) * 1_000_000;
            self.start = Some(self.start.map_or(time, |start| start.min(time)));
        }
    }

    fn track(self) -> Option<VideoTrack> {
        (self.count > 0).then(|| VideoTrack {
            number: 1,
            codec: self.codec,
            is_default: true,
            frames: (!self.is_uncountable).then_some(self.count),
            maybe_hidden: 0,
            is_packed: false,
            start: self.start,
        })
    }
}

/// Reads the starts of tags, without what is between them if it is long.
struct Tags<'a> {
    file: &'a mut File,
    length: u64,
    block: Vec<u8>,
    start: u64,
}

impl Tags<'_> {
    /// The header of the tag at a place, and what follows it, as zeros past the end of the file;
    /// `None` if the file ends in the header.
    fn header(&mut self, at: u64) -> io::Result<Option<[u8; HEADER + VIDEO_HEADER]>> {
        if self.length - at < HEADER as u64 {
            return Ok(None);
        }
        let wanted = (HEADER + VIDEO_HEADER) as u64;
        let end = self.start + self.block.len() as u64;
        if at < self.start || at + wanted > end {
            self.file.seek(SeekFrom::Start(at))?;
            self.block.clear();
            self.start = at;
            self.file.take(BLOCK as u64).read_to_end(&mut self.block)?;
        }
        let from = usize::try_from(at - self.start).unwrap_or(usize::MAX);
        let mut header = [0; HEADER + VIDEO_HEADER];
        let there = self.block.get(from..).unwrap_or_default();
        let used = there.len().min(header.len());
        header[..used].copy_from_slice(&there[..used]);
        Ok(Some(header))
    }
}

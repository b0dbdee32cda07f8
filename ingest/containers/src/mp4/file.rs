//! The boxes of a file's top level.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;

use super::boxes::{Head, find, u32_at};

/// A movie or fragment box is read whole. One of a day of video is smaller.
const MOST_BYTES: u64 = 256 << 20;
/// Boxes of the top level that are visited.
const MOST_BOXES: usize = 4 << 20;
/// What an MP4 can start with.
const FIRST: [&[u8; 4]; 13] = [
    b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot", b"styp", b"moof", b"sidx",
    b"uuid", b"junk", b"pict",
];

/// Where the parts of an MP4 are.
#[derive(Debug, Default)]
pub(super) struct Layout {
    /// Bytes of the file.
    pub(super) length: u64,
    /// Content of the movie box, if there is one.
    pub(super) movie: Option<Vec<u8>>,
    /// Units per second of edit lists.
    pub(super) movie_timescale: u32,
    /// Start and length of each fragment box.
    pub(super) fragments: Vec<(u64, u64)>,
    /// Bytes that the last box lacks.
    pub(super) missing: Option<u64>,
}

impl Layout {
    pub(super) fn is_fragmented(&self) -> bool {
        !self.fragments.is_empty()
    }
}

/// Finds the parts; `None` if the file is not an MP4, or holds pictures only.
pub(super) fn read(file: &File) -> io::Result<Option<Layout>> {
    let mut layout = Layout { length: file.metadata()?.len(), ..Layout::default() };
    let mut at = 0;
    let mut has_media = false;
    for n in 0..MOST_BOXES {
        let Some(head) = head_at(file, at)? else {
            if n == 0 {
                return Ok(None);
            }
            break;
        };
        if n == 0 && !FIRST.contains(&&head.kind) {
            return Ok(None);
        }
        let left = layout.length - at;
        let length = if head.length == 0 { left } else { head.length };
        let content = head.size as u64..length.min(left);
        match &head.kind {
            b"moov" if layout.movie.is_none() => {
                let movie = read_range(file, at, content)?;
                layout.movie_timescale = find(&movie, b"mvhd").and_then(timescale).unwrap_or(0);
                layout.movie = Some(movie);
            }
            b"moof" => layout.fragments.push((at, length.min(left))),
            // A picture, such as HEIC or AVIF.
            b"meta" if layout.movie.is_none() && n < 3 => return Ok(None),
            b"mdat" => has_media = true,
            _ => {}
        }
        if length >= left {
            let missing = length - left;
            let holds_frames = [b"moof", b"mdat"].contains(&&head.kind);
            layout.missing = Some(missing).filter(|missing| *missing > 0 && holds_frames);
            break;
        }
        at += length;
    }
    let is_known = layout.movie.is_some() || layout.is_fragmented() || has_media;
    Ok(is_known.then_some(layout))
}

/// The content of a fragment box.
pub(super) fn read_fragment(file: &File, (at, length): (u64, u64)) -> io::Result<Vec<u8>> {
    let head = head_at(file, at)?.map_or(0, |head| head.size as u64);
    read_range(file, at, head..length)
}

fn read_range(file: &File, at: u64, range: std::ops::Range<u64>) -> io::Result<Vec<u8>> {
    let length = range.end.saturating_sub(range.start).min(MOST_BYTES);
    // The caller limits the length by that of the file.
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
    let read = read_at(file, &mut bytes, at + range.start)?;
    bytes.truncate(read);
    Ok(bytes)
}

fn head_at(file: &File, at: u64) -> io::Result<Option<Head>> {
    let mut bytes = [0; Head::MOST];
    let read = read_at(file, &mut bytes, at)?;
    Ok(Head::parse(&bytes[..read]))
}

fn read_at(file: &File, bytes: &mut [u8], at: u64) -> io::Result<usize> {
    let mut read = 0;
    while read < bytes.len() {
        match file.read_at(&mut bytes[read..], at + read as u64) {
            Ok(0) => break,
            Ok(more) => read += more,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(read)
}

/// Units per second, of a movie or media header.
pub(super) fn timescale(header: &[u8]) -> Option<u32> {
    match header.first()? {
        1 => u32_at(header, 20),
        _ => u32_at(header, 12),
    }
}

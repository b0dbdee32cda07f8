//! AVI: its streams, and the chunks of each (Microsoft, "AVI RIFF File Reference", and the OpenDML
//! extensions for files of several RIFF lists).
//!
//! The chunks themselves are counted, not the index: they are there even if it is not. A chunk
//! without data repeats the frame before it, and is not a frame of its own. The same is true of a
//! tiny one of MPEG-4. In a "packed" stream, such a one stands for the second frame of an earlier
//! chunk.

mod header;
mod repair;

use std::fs::File;
use std::io;

use self::header::Completed;
pub use self::repair::repaired_avi;
use crate::contents::{Container, Contents, Fault, VideoTrack};
use crate::four_characters::{Chunks, SHORTEST, codec};
use crate::reader::Reader;

/// More files than this are not appended to each other.
const MOST_FILMS: usize = 1000;
/// As many as two digits can number.
const MOST_STREAMS: usize = 100;
/// Bytes of a stream header up to its flags.
const STREAM_HEADER: usize = 12;
/// Bytes of a bitmap header up to its compression.
const BITMAP_HEADER: usize = 20;
/// AVISF_DISABLED: the stream is not to be shown unless a user asks for it.
const DISABLED: u32 = 1;
/// Where the first chunk of MPEG-4 names its encoder, at the latest.
pub(crate) const USER_DATA: usize = 1024;
/// Zeros that are examined to recognise padding.
const MOST_PADDING: u64 = 64 << 10;
/// The most that is read of a chunk of a packed stream.
const LONGEST: usize = 16 << 20;
/// A length that a program writes before it knows it.
const NOT_YET_KNOWN: [u32; 2] = [0, u32::MAX];

pub(crate) fn is_avi(start: &[u8]) -> bool {
    matches!(start, [b'R', b'I', b'F', b'F', _, _, _, _, b'A', b'V', b'I', b' ', ..])
}

pub(crate) fn inspect(file: &mut File) -> io::Result<Contents> {
    let reader = Reader::new(file)?;
    let mut walk = Walk {
        reader,
        has_movie: false,
        has_main: false,
        lacks_stream: false,
        streams: Vec::new(),
        missing: 0,
        unknown: 0,
        is_uncertain: false,
        damaged_at: None,
        films: Vec::new(),
    };
    walk.file()?;
    let has_headers = walk.has_main && !walk.lacks_stream;
    if !(walk.has_movie && has_headers)
        && let Some(repaired) = repair::repaired(&mut walk.reader)?
    {
        walk.is_uncertain = true;
        let headers = repaired.damaged_at.unwrap_or(header::FIRST as u64);
        walk.damaged_at = Some(walk.damaged_at.map_or(headers, |at| at.min(headers)));
        walk.streams = repaired.streams.iter().map(Stream::from).collect();
    }
    Ok(walk.finish())
}

struct Walk<'a> {
    reader: Reader<'a>,
    has_movie: bool,
    /// Whether its first header is there.
    has_main: bool,
    /// Whether there are chunks of a video stream that the headers do not have.
    lacks_stream: bool,
    /// All streams, sound included: chunks name them by number.
    streams: Vec<Stream>,
    /// Bytes that are missing at the end.
    missing: u64,
    /// Chunks that may be of any stream.
    unknown: u64,
    /// Whether there are chunks that were not counted.
    is_uncertain: bool,
    damaged_at: Option<u64>,
    /// Where each film starts, if several files are appended to each other.
    films: Vec<u64>,
}

#[derive(Default)]
struct Stream {
    is_video: bool,
    is_disabled: bool,
    has_format: bool,
    compression: [u8; 4],
    /// Chunks with data.
    frames: u64,
    /// Those that only repeat the frame before.
    repeats: u64,
    /// Whether several frames may be packed into a chunk.
    is_packed: bool,
    /// Frames in chunks of a packed stream.
    packed: u64,
}

impl From<&Completed> for Stream {
    fn from(stream: &Completed) -> Self {
        let Completed { is_video, is_disabled, compression, .. } = *stream;
        Self { is_video, is_disabled, has_format: true, compression, ..Self::default() }
    }
}

/// The header of a chunk or a list.
struct Chunk {
    id: [u8; 4],
    size: u32,
    /// Where its data starts.
    data: u64,
}

impl Chunk {
    /// Where it ends, at most at `end`.
    fn end(&self, end: u64) -> u64 {
        if NOT_YET_KNOWN.contains(&self.size) && (self.id == *b"RIFF" || self.id == *b"LIST") {
            return end;
        }
        self.data.saturating_add(self.size.into()).min(end)
    }
}

impl Walk<'_> {
    fn file(&mut self) -> io::Result<()> {
        let length = self.reader.length();
        while let Some(riff) = self.chunk(length)? {
            // What follows the last list is not part of the film.
            if riff.id != *b"RIFF" {
                return Ok(());
            }
            let end = riff.end(length);
            let mut kind = [0; 4];
            self.reader.fill(&mut kind)?;
            // A list of more chunks of the same film is an `AVIX`.
            if kind == *b"AVI " && self.films.len() < MOST_FILMS {
                self.films.push(riff.data - 8);
            }
            while let Some(chunk) = self.chunk(end)? {
                if chunk.id == *b"LIST" {
                    self.list(&chunk, end)?;
                }
                self.skip(&chunk, end)?;
            }
            self.reader.go_to(end.saturating_add(end % 2))?;
        }
        Ok(())
    }

    fn list(&mut self, list: &Chunk, end: u64) -> io::Result<()> {
        let mut kind = [0; 4];
        if self.reader.fill(&mut kind)? < kind.len() {
            return Ok(());
        }
        let inner = list.end(end);
        match &kind {
            // Chunks of films that follow are counted with the streams of the first.
            b"hdrl" if self.streams.is_empty() => {
                while let Some(chunk) = self.chunk(inner)? {
                    let mut kind = [0; 4];
                    self.has_main |= chunk.id == *b"avih";
                    if chunk.id == *b"LIST"
                        && self.reader.fill(&mut kind)? == kind.len()
                        && kind == *b"strl"
                    {
                        self.stream(chunk.end(inner))?;
                    }
                    self.skip(&chunk, inner)?;
                }
            }
            b"movi" => {
                self.has_movie = true;
                let mut declared = list.data.saturating_add(list.size.into());
                if NOT_YET_KNOWN.contains(&list.size) {
                    declared = u64::MAX;
                } else {
                    self.missing = declared.saturating_sub(self.reader.length());
                }
                self.movie(inner, declared)?;
            }
            _ => {}
        }
        Ok(())
    }

    fn stream(&mut self, end: u64) -> io::Result<()> {
        let mut stream = Stream::default();
        while let Some(chunk) = self.chunk(end)? {
            match &chunk.id {
                b"strh" => {
                    let mut header = [0; STREAM_HEADER];
                    if self.reader.fill(&mut header)? == header.len() {
                        stream.is_video = header.starts_with(b"vids");
                        let [.., a, b, c, d] = header;
                        stream.is_disabled = u32::from_le_bytes([a, b, c, d]) & DISABLED != 0;
                    }
                }
                b"strf" if stream.is_video => {
                    let mut header = [0; BITMAP_HEADER];
                    if self.reader.fill(&mut header)? == header.len() {
                        let [.., a, b, c, d] = header;
                        stream.has_format = true;
                        stream.compression = [a, b, c, d];
                    }
                }
                _ => {}
            }
            self.skip(&chunk, end)?;
        }
        if self.streams.len() < MOST_STREAMS {
            self.streams.push(stream);
        }
        Ok(())
    }

    /// Counts the chunks to `end`, at most where the list ends as it is `declared`. Those in `rec `
    /// lists are walked as if the list was not there.
    fn movie(&mut self, end: u64, declared: u64) -> io::Result<()> {
        let has_end = end < self.reader.length();
        while let Some(chunk) = self.chunk(end)? {
            let chunk_end = chunk.data.saturating_add(chunk.size.into());
            if chunk.id == *b"LIST" {
                self.reader.go_to(chunk.data.saturating_add(4))?;
                continue;
            }
            if chunk_end > self.reader.length() {
                // Where the list itself is there or ends earlier, the length of the chunk is wrong.
                if has_end || chunk_end > declared {
                    self.is_uncertain = true;
                    self.damaged_at.get_or_insert(chunk.data - 8);
                }
                self.missing = self.missing.max(chunk_end - self.reader.length());
                return Ok(());
            }
            match (number(chunk.id), &chunk.id) {
                (Some(number), [.., b'd', b'c' | b'b']) => {
                    if chunk.size > 0 {
                        self.frame(number, chunk.size)?;
                    }
                }
                // Sound, palettes, indexes and padding.
                (Some(_), _) | (None, [b'i', b'x', ..] | b"JUNK" | b"idx1") => {}
                _ if self.is_before_chunk(&chunk, end)? => self.unknown += 1,
                _ => {
                    self.is_uncertain = true;
                    if !self.is_padding(&chunk, end)? {
                        self.damaged_at.get_or_insert(chunk.data - 8);
                    }
                    return Ok(());
                }
            }
            self.skip(&chunk, end)?;
        }
        Ok(())
    }

    /// Whether another chunk of a stream follows this one, or the end of the list.
    fn is_before_chunk(&mut self, chunk: &Chunk, end: u64) -> io::Result<bool> {
        self.skip(chunk, end)?;
        if self.reader.position() >= end {
            return Ok(true);
        }
        let mut id = [0; 4];
        self.reader.fill(&mut id)?;
        self.reader.go_to(chunk.data)?;
        let [.., kind, last] = id;
        let is_of_stream = number(id).is_some() && matches!(kind, b'd' | b'w' | b'p' | b't');
        let is_list = id == *b"LIST" || id == *b"JUNK";
        Ok(is_list || is_of_stream && last.is_ascii_lowercase())
    }

    /// Whether there are only zeros from a chunk on.
    fn is_padding(&mut self, chunk: &Chunk, end: u64) -> io::Result<bool> {
        let rest = end.saturating_sub(chunk.data).min(MOST_PADDING);
        let mut bytes = vec![0; usize::try_from(rest).unwrap_or(0)];
        let filled = self.reader.fill(&mut bytes)?;
        Ok(chunk.id == [0; 4] && bytes[..filled].iter().all(|byte| *byte == 0))
    }

    /// Counts a chunk with data.
    fn frame(&mut self, number: usize, size: u32) -> io::Result<()> {
        // A film that follows may have other streams.
        let is_first = self.films.len() <= 1;
        let stream = self.streams.get_mut(number);
        self.lacks_stream |=
            is_first && !stream.as_ref().is_some_and(|stream| stream.is_video && stream.has_format);
        let Some(stream) = stream else { return Ok(()) };
        stream.frames += 1;
        if codec(stream.compression).1 != Chunks::Mpeg4 {
            return Ok(());
        }
        stream.repeats += u64::from(size < SHORTEST);
        let size = usize::try_from(size).unwrap_or(LONGEST);
        if stream.frames == 1 {
            let mut start = vec![0; size.min(USER_DATA)];
            let filled = self.reader.fill(&mut start)?;
            stream.is_packed = is_packed(&start[..filled]);
            self.reader.go_to(self.reader.position() - filled as u64)?;
        }
        if stream.is_packed {
            let mut data = vec![0; size.min(LONGEST)];
            let filled = self.reader.fill(&mut data)?;
            stream.packed += pictures(&data[..filled]);
        }
        Ok(())
    }

    /// The next chunk before `end`.
    fn chunk(&mut self, end: u64) -> io::Result<Option<Chunk>> {
        if self.reader.position() >= end.min(self.reader.length()) {
            return Ok(None);
        }
        let mut header = [0; 8];
        if self.reader.fill(&mut header)? < header.len() {
            return Ok(None);
        }
        let [a, b, c, d, size @ ..] = header;
        let size = u32::from_le_bytes(size);
        Ok(Some(Chunk { id: [a, b, c, d], size, data: self.reader.position() }))
    }

    /// Moves behind a chunk, which has an even length, or to `end`.
    fn skip(&mut self, chunk: &Chunk, end: u64) -> io::Result<()> {
        let chunk_end = chunk.end(end);
        self.reader.go_to(chunk_end.saturating_add((chunk_end - chunk.data.min(chunk_end)) % 2))
    }

    fn finish(self) -> Contents {
        let Self { reader, streams, missing, unknown, is_uncertain, damaged_at, films, .. } = self;
        let tracks = streams
            .iter()
            .filter(|stream| stream.is_video)
            .zip(1..)
            .map(|(stream, number)| {
                let (codec, chunks) = codec(stream.compression);
                let (frames, maybe_hidden) = match chunks {
                    Chunks::Frames => (stream.frames, 0),
                    Chunks::Mpeg4 if stream.is_packed => (stream.packed, 0),
                    Chunks::Mpeg4 => (stream.frames, stream.repeats),
                    Chunks::AtMostFrames => (stream.frames, stream.frames),
                };
                let (frames, maybe_hidden) = (frames + unknown, maybe_hidden + unknown);
                VideoTrack {
                    number,
                    codec,
                    is_default: !stream.is_disabled,
                    frames: (!is_uncertain).then_some(frames),
                    maybe_hidden,
                    is_packed: stream.is_packed,
                    start: None,
                }
            })
            .collect();
        let damaged = damaged_at.map(|at| Fault::Damaged { at });
        let truncated = (missing > 0).then_some(Fault::Truncated { missing });
        Contents {
            container: Container::Avi,
            tracks,
            faults: damaged.or(truncated).into_iter().collect(),
            parts: films,
            length: reader.length(),
        }
    }
}

/// The number of the stream that a chunk belongs to.
fn number(id: [u8; 4]) -> Option<usize> {
    let [tens, ones, ..] = id;
    let digit = |byte: u8| byte.is_ascii_digit().then(|| usize::from(byte - b'0'));
    Some(digit(tens)? * 10 + digit(ones)?)
}

/// Whether a chunk starts with the mark of a packed stream: the name and version of its encoder,
/// and a `p`.
pub(crate) fn is_packed(start: &[u8]) -> bool {
    let text = start.windows(4).position(|name| name == b"DivX").and_then(|at| start.get(at + 4..));
    let end = text.into_iter().flatten().find(|byte| !b"Build0123456789b".contains(byte));
    end == Some(&b'p')
}

/// How many pictures of MPEG-4 a chunk holds, without those that repeat.
fn pictures(data: &[u8]) -> u64 {
    let codes = data.windows(4).enumerate().filter(|(_, code)| *code == [0, 0, 1, 0xb6]);
    let starts: Vec<usize> = codes.map(|(at, _)| at).collect();
    let ends = starts.iter().skip(1).copied().chain([data.len()]);
    let coded = starts.iter().zip(ends).filter(|(start, end)| end - *start >= SHORTEST as usize);
    coded.count() as u64
}

#[cfg(test)]
mod tests;

//! AVI: its streams, and the chunks of each (Microsoft, "AVI RIFF File Reference", and the OpenDML
//! extensions for files of several RIFF lists).
//!
//! The chunks themselves are counted, not the index: they are there even if it is not. A chunk
//! without data repeats the frame before it, and is no frame of its own.

use std::fs::File;
use std::io;

use crate::contents::{Container, Contents, Fault, VideoTrack};
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
/// A length that a program writes before it knows it.
const NOT_YET_KNOWN: [u32; 2] = [0, u32::MAX];

pub(crate) fn is_avi(start: &[u8]) -> bool {
    matches!(start, [b'R', b'I', b'F', b'F', _, _, _, _, b'A', b'V', b'I', b' ', ..])
}

pub(crate) fn inspect(file: &mut File) -> io::Result<Contents> {
    let reader = Reader::new(file)?;
    let mut walk =
        Walk { reader, streams: Vec::new(), missing: 0, is_uncertain: false, films: Vec::new() };
    walk.file()?;
    Ok(walk.finish())
}

struct Walk<'a> {
    reader: Reader<'a>,
    /// All streams, sound included: chunks name them by number.
    streams: Vec<Stream>,
    /// Bytes that are missing at the end.
    missing: u64,
    /// Whether there are chunks that were not counted.
    is_uncertain: bool,
    /// Where each film starts, if several files are appended to each other.
    films: Vec<u64>,
}

#[derive(Default)]
struct Stream {
    is_video: bool,
    is_disabled: bool,
    compression: [u8; 4],
    frames: u64,
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
                let declared = list.data.saturating_add(list.size.into());
                if !NOT_YET_KNOWN.contains(&list.size) {
                    self.missing = declared.saturating_sub(self.reader.length());
                }
                self.movie(inner)?;
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

    /// Counts the chunks to `end`. Those in `rec ` lists are walked as if the list was not there.
    fn movie(&mut self, end: u64) -> io::Result<()> {
        while let Some(chunk) = self.chunk(end)? {
            let chunk_end = chunk.data.saturating_add(chunk.size.into());
            if chunk.id == *b"LIST" {
                self.reader.go_to(chunk.data.saturating_add(4))?;
                continue;
            }
            if chunk_end > self.reader.length() {
                self.missing = self.missing.max(chunk_end - self.reader.length());
                return Ok(());
            }
            match (number(chunk.id), &chunk.id) {
                (Some(number), [.., b'd', b'c' | b'b']) => {
                    if let Some(stream) = self.streams.get_mut(number) {
                        stream.frames += u64::from(chunk.size > 0);
                    }
                }
                // Sound, palettes, indexes and padding.
                (Some(_), _) | (None, [b'i', b'x', ..] | b"JUNK" | b"idx1") => {}
                _ => {
                    self.is_uncertain = true;
                    return Ok(());
                }
            }
            self.skip(&chunk, end)?;
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
        let Self { reader, streams, missing, is_uncertain, films } = self;
        let tracks = streams
            .iter()
            .filter(|stream| stream.is_video)
            .zip(1..)
            .map(|(stream, number)| {
                let (codec, is_countable) = codec(stream.compression);
                VideoTrack {
                    number,
                    codec,
                    is_default: !stream.is_disabled,
                    frames: (is_countable && !is_uncertain).then_some(stream.frames),
                    start: None,
                }
            })
            .collect();
        let truncated = (missing > 0).then_some(Fault::Truncated { missing });
        Contents {
            container: Container::Avi,
            tracks,
            faults: truncated.into_iter().collect(),
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

/// The name of a codec, and whether each of its chunks is one frame that is shown.
fn codec(compression: [u8; 4]) -> (Option<&'static str>, bool) {
    match &compression.map(|byte| byte.to_ascii_uppercase()) {
        b"H264" | b"AVC1" | b"X264" => (Some("H.264"), true),
        b"HEVC" | b"H265" | b"HVC1" => (Some("HEVC"), true),
        b"MJPG" => (Some("Motion JPEG"), true),
        b"FFV1" => (Some("FFV1"), true),
        b"HFYU" | b"FFVH" => (Some("HuffYUV"), true),
        b"ULRG" | b"ULRA" | b"ULY0" | b"ULY2" | b"ULY4" | b"ULH0" | b"ULH2" | b"ULH4" => {
            (Some("Ut Video"), true)
        }
        b"DVSD" | b"DV25" | b"DV50" | b"DVHD" => (Some("DV"), true),
        b"MAGY" | b"M8RG" | b"M8Y0" | b"M8Y2" | b"M8Y4" => (Some("MagicYUV"), true),
        b"APCN" | b"APCH" | b"APCS" | b"APCO" | b"AP4H" => (Some("ProRes"), true),
        b"VP80" => (Some("VP8"), false),
        b"VP90" => (Some("VP9"), false),
        b"AV01" => (Some("AV1"), false),
        // These have packed frames, or some that only repeat.
        b"XVID" | b"DIVX" | b"DX50" | b"FMP4" | b"MP4V" => (Some("MPEG-4"), false),
        b"DIV3" | b"MP42" | b"MP43" => (Some("MS MPEG-4"), false),
        b"MPG1" => (Some("MPEG-1"), false),
        b"MPG2" | b"MPEG" => (Some("MPEG-2"), false),
        b"WMV1" | b"WMV2" | b"WMV3" => (Some("WMV"), false),
        b"CVID" => (Some("Cinepak"), false),
        [0, 0, 0, 0] => (Some("uncompressed"), false),
        _ => (None, false),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn chunk(id: &[u8; 4], data: &[u8]) -> Vec<u8> {
        let padding = &[0][..data.len() % 2];
        [id, &u32::try_from(data.len()).unwrap().to_le_bytes()[..], data, padding].concat()
    }

    fn list(id: &[u8; 4], kind: &[u8; 4], chunks: &[Vec<u8>]) -> Vec<u8> {
        chunk(id, &[&kind[..], &chunks.concat()].concat())
    }

    fn stream(kind: &[u8; 4], compression: &[u8; 4], flags: u8) -> Vec<u8> {
        let header = [&kind[..], compression, &[flags, 0, 0, 0]].concat();
        let format = [&[0; 16][..], compression].concat();
        list(b"LIST", b"strl", &[chunk(b"strh", &header), chunk(b"strf", &format)])
    }

    /// A disabled video, sound, and a video of three frames and a repeated one.
    fn film() -> Vec<u8> {
        let streams =
            [stream(b"vids", b"cvid", 1), stream(b"auds", &[0; 4], 0), stream(b"vids", b"MJPG", 0)];
        let record = list(b"LIST", b"rec ", &[chunk(b"02dc", b"abc"), chunk(b"02dc", b"")]);
        let movie = [chunk(b"02dc", b"a"), chunk(b"01wb", b"ab"), record, chunk(b"JUNK", b"")];
        let header = list(b"LIST", b"hdrl", &[chunk(b"avih", &[0; 56]), streams.concat()]);
        let first = list(
            b"RIFF",
            b"AVI ",
            &[header, list(b"LIST", b"movi", &movie), chunk(b"idx1", &[0; 16])],
        );
        let more = list(b"LIST", b"movi", &[chunk(b"ix02", &[1; 4]), chunk(b"02db", b"abcd")]);
        [first, list(b"RIFF", b"AVIX", &[more])].concat()
    }

    fn contents(bytes: &[u8]) -> Contents {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        inspect(&mut file).unwrap()
    }

    #[test]
    fn chunks_with_data_are_frames_in_every_list() {
        let film = film();
        assert!(is_avi(&film));
        let contents = contents(&film);
        let tracks: Vec<_> = contents
            .tracks
            .iter()
            .map(|track| (track.number, track.codec, track.is_default, track.frames))
            .collect();
        assert_eq!(
            tracks,
            [(1, Some("Cinepak"), false, None), (2, Some("Motion JPEG"), true, Some(3))]
        );
        assert_eq!(contents.faults, []);
    }

    #[test]
    fn files_appended_to_each_other_are_parts_whose_frames_all_count() {
        let film = film();
        let two = contents(&film.repeat(2));
        assert_eq!(two.parts, [0, film.len() as u64]);
        assert_eq!(two.tracks.len(), 2);
        assert_eq!(two.tracks[1].frames, Some(6));
        assert_eq!(contents(&film).parts, [0]);
    }

    #[test]
    fn a_file_without_its_end_is_truncated_but_one_without_its_index_is_not() {
        let film = film();
        assert_eq!(contents(&film[..film.len() - 2]).faults, [Fault::Truncated { missing: 2 }]);
        let index = film.windows(4).position(|bytes| bytes == b"idx1").unwrap();
        assert_eq!(contents(&film[..index]).faults, []);
    }

    #[test]
    fn a_recording_whose_lengths_were_never_written_is_whole() {
        for size in NOT_YET_KNOWN {
            let mut film = film();
            let index = film.windows(4).position(|bytes| bytes == b"idx1").unwrap();
            film.truncate(index);
            let movie = film.windows(4).position(|bytes| bytes == b"movi").unwrap();
            film[4..8].copy_from_slice(&size.to_le_bytes());
            film[movie - 4..movie].copy_from_slice(&size.to_le_bytes());
            let contents = contents(&film);
            assert_eq!((contents.tracks[1].frames, contents.faults), (Some(2), vec![]));
        }
    }

    #[test]
    fn no_change_of_a_file_makes_it_hang_or_panic() {
        let film = film();
        for at in 0..film.len() {
            for value in [0, 1, 4, 0x30, 0x7f, 0xff, film[at] ^ 1] {
                let mut bytes = film.clone();
                bytes[at] = value;
                contents(&bytes);
            }
            contents(&film[..at]);
        }
    }
}

//! Finds the chunks of an AVI that do not follow each other, so that a demuxer can read them.

use std::fs::File;
use std::io;

use super::header::{self, Completed, Kind, Movie, Seen};
use super::{Chunk, MOST_STREAMS, number};
use crate::pieces::Piece;
use crate::reader::Reader;

/// More pieces than this are not put together.
const MOST: usize = 100_000;
/// How much is read at once in search of a chunk.
const BLOCK: usize = 64 << 10;
/// Bytes of the header of a chunk.
const HEADER: u64 = 8;
/// Bytes of the header of a list with its kind.
const LIST: u64 = 12;
/// How much of the first chunk of a stream shows its codec.
const START: usize = 16;

/// An AVI with one list of all chunks that are left of another one, without its index. Empty if it
/// has no chunks, or its headers do not say what is in them.
///
/// # Errors
///
/// The file cannot be read.
pub fn repaired_avi(file: &mut File) -> io::Result<Vec<Piece>> {
    let repaired = repaired(&mut Reader::new(file)?)?;
    Ok(repaired.map(|repaired| repaired.pieces).unwrap_or_default())
}

pub(super) struct Repaired {
    pub(super) streams: Vec<Completed>,
    /// Where the headers are broken.
    pub(super) damaged_at: Option<u64>,
    pieces: Vec<Piece>,
}

pub(super) fn repaired(reader: &mut Reader<'_>) -> io::Result<Option<Repaired>> {
    let Some(Movie { at, damaged_at, headers }) = header::find_movie(reader)? else {
        return Ok(None);
    };
    let mut repair = Repair { reader, pieces: Vec::new(), length: 0, seen: Vec::new() };
    repair.chunks(at + LIST)?;
    let Repair { mut pieces, length, seen, .. } = repair;
    let Some((headers, streams)) = headers.complete(&seen) else { return Ok(None) };
    let list = length + 4;
    let all = list + HEADER + headers.len() as u64 + 4;
    // Longer films have several lists.
    let (Ok(list), Ok(all)) = (u32::try_from(list), u32::try_from(all)) else { return Ok(None) };
    let start = [
        &b"RIFF"[..],
        &all.to_le_bytes(),
        b"AVI ",
        &headers,
        b"LIST",
        &list.to_le_bytes(),
        b"movi",
    ];
    pieces.insert(0, Piece::Bytes(start.concat()));
    Ok(Some(Repaired { streams, damaged_at, pieces }))
}

struct Repair<'a, 'b> {
    reader: &'a mut Reader<'b>,
    pieces: Vec<Piece>,
    /// Of all pieces.
    length: u64,
    /// By the numbers of streams.
    seen: Vec<Seen>,
}

impl Repair<'_, '_> {
    /// Collects the chunks from here on.
    fn chunks(&mut self, from: u64) -> io::Result<()> {
        let length = self.reader.length();
        let mut at = from;
        // Its length is right if another one follows it.
        let mut before: Option<Chunk> = None;
        while self.pieces.len() < MOST {
            if let Some(chunk) = self.chunk(at)?.filter(is_chunk) {
                self.add(before.take(), at)?;
                if [b"LIST", b"RIFF"].contains(&&chunk.id) {
                    at += LIST;
                } else {
                    at = end(&chunk);
                    before = Some(chunk);
                }
                continue;
            }
            if at <= length && length - at < HEADER {
                break;
            }
            let search = before.as_ref().map_or(at, |before| before.data);
            let next = self.next_chunk(search)?;
            self.add(before.take(), next.unwrap_or(length))?;
            let Some(next) = next else { break };
            at = next;
        }
        self.add(before, length)
    }

    /// Adds a chunk that ends where the `next` one starts, at the latest.
    fn add(&mut self, chunk: Option<Chunk>, next: u64) -> io::Result<()> {
        let Some(Chunk { id, size, data }) = chunk.filter(is_data) else { return Ok(()) };
        let end = next.min(data.saturating_add(size.into()));
        self.see(id, data, end)?;
        let left = u32::try_from(end.saturating_sub(data)).unwrap_or(u32::MAX);
        if left == size {
            self.file(data - HEADER, end);
        } else {
            self.bytes(&[&id[..], &left.to_le_bytes()].concat());
            self.file(data, end);
        }
        match left % 2 {
            0 => {}
            _ if end + 1 == next => self.file(end, next),
            // Its padding was lost.
            _ => self.bytes(&[0]),
        }
        Ok(())
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.length += bytes.len() as u64;
        match self.pieces.last_mut() {
            Some(Piece::Bytes(last)) => last.extend_from_slice(bytes),
            _ => self.pieces.push(Piece::Bytes(bytes.to_vec())),
        }
    }

    fn file(&mut self, start: u64, end: u64) {
        self.length += end - start;
        match self.pieces.last_mut() {
            Some(Piece::File(last)) if last.end == start => last.end = end,
            _ => self.pieces.push(Piece::File(start..end)),
        }
    }

    /// Remembers what the first chunk of each stream says about it.
    fn see(&mut self, id: [u8; 4], data: u64, end: u64) -> io::Result<()> {
        let Some(number) = number(id).filter(|number| *number < MOST_STREAMS) else {
            return Ok(());
        };
        if self.seen.len() <= number {
            self.seen.resize(number + 1, Seen::default());
        }
        let seen = &mut self.seen[number];
        let [.., kind, last] = id;
        let is_video = kind == b'd' && [b'c', b'b'].contains(&last);
        seen.chunks = seen.chunks.saturating_add(1);
        if seen.kind != Some(Kind::Video) {
            seen.kind = Some(if is_video { Kind::Video } else { Kind::Other });
        }
        if is_video && seen.start.is_empty() && end > data {
            let mut start = vec![0; START.min(usize::try_from(end - data).unwrap_or(START))];
            self.reader.go_to(data)?;
            let filled = self.reader.fill(&mut start)?;
            start.truncate(filled);
            seen.start = start;
        }
        Ok(())
    }

    /// The first place from `search` on of a chunk that is followed by another, or by the end.
    fn next_chunk(&mut self, search: u64) -> io::Result<Option<u64>> {
        let mut start = search;
        loop {
            let mut block = vec![0; BLOCK];
            self.reader.go_to(start)?;
            let filled = self.reader.fill(&mut block)?;
            for (offset, id) in (start..).zip(block[..filled].windows(4)) {
                let [.., kind, last] = *id else { continue };
                let is_data = matches!([kind, last], [b'd', b'c' | b'b'] | [b'w', b'b']);
                if !is_data || !id[..2].iter().all(u8::is_ascii_digit) {
                    continue;
                }
                let Some(chunk) = self.chunk(offset)? else { continue };
                let after = end(&chunk);
                if after == self.reader.length()
                    || self.chunk(after)?.is_some_and(|next| is_chunk(&next))
                {
                    return Ok(Some(offset));
                }
            }
            if filled < BLOCK {
                return Ok(None);
            }
            start += (BLOCK - 3) as u64;
        }
    }

    fn chunk(&mut self, at: u64) -> io::Result<Option<Chunk>> {
        let mut header = [0; 8];
        self.reader.go_to(at)?;
        if self.reader.position() < at || self.reader.fill(&mut header)? < header.len() {
            return Ok(None);
        }
        let [a, b, c, d, size @ ..] = header;
        let (id, size) = ([a, b, c, d], u32::from_le_bytes(size));
        Ok(Some(Chunk { id, size, data: at + HEADER }))
    }
}

/// Where the next chunk starts: data of an odd length is padded.
fn end(chunk: &Chunk) -> u64 {
    chunk.data.saturating_add(u64::from(chunk.size) + u64::from(chunk.size % 2))
}

/// Whether it is of a stream.
fn is_data(chunk: &Chunk) -> bool {
    let [.., kind, last] = chunk.id;
    number(chunk.id).is_some()
        && matches!([kind, last], [b'd', b'c' | b'b'] | [b'w', b'b'] | [b'p', b'c'] | [b't', b'x'])
}

fn is_chunk(chunk: &Chunk) -> bool {
    is_data(chunk)
        || chunk.id.starts_with(b"ix")
        || [b"JUNK", b"LIST", b"RIFF", b"idx1"].contains(&&chunk.id)
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

    fn repaired(bytes: &[u8]) -> Vec<u8> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        let mut repaired = Vec::new();
        for piece in repaired_avi(&mut file).unwrap() {
            let length = piece.length();
            let before = repaired.len();
            match piece {
                Piece::Bytes(bytes) => repaired.extend(bytes),
                Piece::File(range) => {
                    let range = range.start as usize..range.end as usize;
                    repaired.extend_from_slice(&bytes[range]);
                }
            }
            assert_eq!((repaired.len() - before) as u64, length);
        }
        repaired
    }

    /// Lengths of the chunks that a demuxer finds, one behind the other, and what they start with.
    fn found(bytes: &[u8]) -> Vec<(u32, u8)> {
        let size = |at: usize| u32::from_le_bytes(*bytes[at + 4..].first_chunk().unwrap());
        assert_eq!(size(0) as usize, bytes.len() - 8);
        let movie = 12 + 8 + size(12) as usize;
        assert_eq!(movie + 8 + size(movie) as usize, bytes.len());
        let mut at = movie + 12;
        let mut found = Vec::new();
        while at < bytes.len() {
            assert_eq!(&bytes[at..at + 4], b"00dc");
            found.push((size(at), bytes[at + 8]));
            at += 8 + size(at) as usize + size(at) as usize % 2;
        }
        found
    }

    const CHUNK: usize = 48;

    /// Seven chunks of 40 bytes or of 39 with their padding, and where they start.
    fn film(size: usize) -> (Vec<u8>, usize) {
        let chunks: Vec<Vec<u8>> = (1..8).map(|n| chunk(b"00dc", &vec![n; size])).collect();
        let mut header = [&b"vidsMJPG"[..], &[1; 40]].concat();
        let format = [&[40, 0, 0, 0, 64, 0, 0, 0, 48][..], &[0; 7], b"MJPG", &[0; 20]].concat();
        header.extend([0; 8]);
        let stream = list(b"LIST", b"strl", &[chunk(b"strh", &header), chunk(b"strf", &format)]);
        let headers = list(b"LIST", b"hdrl", &[chunk(b"avih", &[1; 56]), stream]);
        let film = list(b"RIFF", b"AVI ", &[headers, list(b"LIST", b"movi", &chunks)]);
        let start = film.len() - 7 * CHUNK;
        (film, start)
    }

    #[test]
    fn what_is_left_of_the_chunks_follows_each_other() {
        for size in [39, 40] {
            let all = |size| (1..8).map(move |n| (size, n));
            let (whole, start) = film(size as usize);
            assert_eq!(found(&repaired(&whole)), all(size).collect::<Vec<_>>());
            // From the middle of the second to the middle of the third, and a destroyed header.
            for lost in [57, 58, 59] {
                let mut lossy = whole.clone();
                lossy[start + 5 * CHUNK] = 0;
                lossy.drain(start + CHUNK + 20..start + CHUNK + 20 + lost);
                let mut expected: Vec<_> = all(size).filter(|(_, n)| ![3, 6].contains(n)).collect();
                let left = size.min(2 * 48 - u32::try_from(lost).unwrap() - 8);
                expected[1].0 = left;
                assert_eq!(found(&repaired(&lossy)), expected, "{size}, {lost}");
            }
        }
    }

    #[test]
    fn a_chunk_that_declares_more_than_the_file_ends_at_the_next_one() {
        let (mut film, start) = film(40);
        film[start + CHUNK + 7] = 1;
        assert_eq!(found(&repaired(&film)).len(), 7);
    }

    #[test]
    fn no_damage_makes_it_fail_or_hang() {
        let (whole, _) = film(10);
        for at in 0..whole.len() {
            repaired(&whole[..at]);
            for value in [0, 1, 0x30, 0x7f, 0x80, 0xff] {
                let mut bytes = whole.clone();
                bytes[at] = value;
                repaired(&bytes);
                bytes.drain(at..whole.len().min(at + 7));
                repaired(&bytes);
            }
        }
    }
}

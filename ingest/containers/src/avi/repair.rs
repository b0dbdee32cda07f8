//! Finds the chunks of an AVI that do not follow each other, so that a demuxer can read them.

use std::fs::File;
use std::io;

use super::header::{self, Movie};
use super::{Chunk, number};
use crate::matroska::Replacement;
use crate::reader::Reader;

/// More places than this are not repaired.
const MOST: usize = 1000;
/// How much is read at once in search of a chunk.
const BLOCK: usize = 64 << 10;
/// Bytes of the header of a chunk.
const HEADER: u64 = 8;

/// What makes one list of all chunks that are left of an AVI, without its index: headers of chunks
/// whose length is wrong, and padding in place of what is none. Empty if it has no chunks.
///
/// # Errors
///
/// The file cannot be read.
pub fn repaired_avi(file: &mut File) -> io::Result<Vec<Replacement>> {
    let mut repair = Repair { reader: Reader::new(file)?, found: Vec::new() };
    let Some(movie) = repair.movie()? else { return Ok(Vec::new()) };
    let length = repair.reader.length();
    let sizes = [0, movie].map(|at| u32::try_from(length - at - HEADER).map(|size| (at, size)));
    for size in sizes {
        // Longer films have several lists.
        let Ok((at, size)) = size else { return Ok(Vec::new()) };
        repair.replace(at + 4, &size.to_le_bytes());
    }
    repair.chunks(movie + HEADER + 4)?;
    Ok(repair.found)
}

struct Repair<'a> {
    reader: Reader<'a>,
    found: Vec<Replacement>,
}

impl Repair<'_> {
    /// Where the list of chunks is, behind headers that are repaired if bytes are missing in them.
    fn movie(&mut self) -> io::Result<Option<u64>> {
        let found = header::find_movie(&mut self.reader)?;
        Ok(found.map(|Movie { at, repairs, .. }| {
            self.found.extend(repairs);
            at
        }))
    }

    /// Repairs the chunks from here on.
    fn chunks(&mut self, from: u64) -> io::Result<()> {
        let length = self.reader.length();
        let mut at = from;
        let mut before: Option<Chunk> = None;
        while at + HEADER <= length && self.found.len() < MOST {
            if let Some(chunk) = self.chunk(at)?.filter(is_chunk) {
                match &chunk.id {
                    b"LIST" => at += HEADER + 4,
                    b"RIFF" => {
                        // More chunks of the same film.
                        self.pad(at, HEADER + 4);
                        at += HEADER + 4;
                    }
                    b"idx1" => {
                        self.replace(at, b"JUNK");
                        at = end(&chunk);
                    }
                    _ => at = end(&chunk),
                }
                before = Some(chunk);
                continue;
            }
            // The length of the one before may be wrong.
            let search = before.as_ref().map_or(at, |before| before.data);
            let next = self.next_chunk(search, at)?.unwrap_or(length & !1);
            match &before {
                Some(before) if next < at + HEADER => {
                    let size = u32::try_from(next.saturating_sub(before.data)).unwrap_or(0);
                    self.replace(before.data - 4, &size.to_le_bytes());
                }
                _ => self.pad(at, next.saturating_sub(at)),
            }
            before = None;
            at = next;
        }
        Ok(())
    }

    /// The first place from `search` on of a chunk that another one follows, or the end of the file.
    /// Chunks lie at even distances from `at`.
    fn next_chunk(&mut self, search: u64, at: u64) -> io::Result<Option<u64>> {
        let mut start = search;
        loop {
            let mut block = vec![0; BLOCK];
            self.reader.go_to(start)?;
            let filled = self.reader.fill(&mut block)?;
            for (offset, id) in (start..).zip(block[..filled].windows(4)) {
                let is_even = offset.abs_diff(at).is_multiple_of(2);
                let [.., kind, last] = *id else { continue };
                let is_data = matches!([kind, last], [b'd', b'c' | b'b'] | [b'w', b'b']);
                if !is_even || !is_data || !id[..2].iter().all(u8::is_ascii_digit) {
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

    fn pad(&mut self, at: u64, length: u64) {
        let size = u32::try_from(length.saturating_sub(HEADER)).unwrap_or(u32::MAX);
        self.replace(at, &[&b"JUNK"[..], &size.to_le_bytes()].concat());
    }

    fn replace(&mut self, at: u64, bytes: &[u8]) {
        self.found.push(Replacement { at, bytes: bytes.to_vec() });
    }
}

fn end(chunk: &Chunk) -> u64 {
    let end = chunk.data.saturating_add(chunk.size.into());
    end.saturating_add(end % 2)
}

fn is_chunk(chunk: &Chunk) -> bool {
    let [.., kind, last] = chunk.id;
    let is_of_stream = number(chunk.id).is_some()
        && matches!([kind, last], [b'd', b'c' | b'b'] | [b'w', b'b'] | [b'p', b'c'] | [b't', b'x']);
    is_of_stream
        || chunk.id.starts_with(b"ix")
        || [b"JUNK", b"LIST", b"RIFF", b"idx1"].contains(&&chunk.id)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn chunk(id: &[u8; 4], data: &[u8]) -> Vec<u8> {
        [id, &u32::try_from(data.len()).unwrap().to_le_bytes()[..], data].concat()
    }

    fn repaired(bytes: &[u8]) -> Vec<u8> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        let mut bytes = bytes.to_vec();
        for Replacement { at, bytes: new } in repaired_avi(&mut file).unwrap() {
            let at = usize::try_from(at).unwrap();
            let end = (at + new.len()).min(bytes.len());
            bytes[at..end].copy_from_slice(&new[..end - at]);
        }
        bytes
    }

    /// Numbers and lengths of the chunks that a demuxer finds, one behind the other.
    fn found(bytes: &[u8]) -> Vec<(String, u32)> {
        let mut at = 12 + 12;
        let mut found = Vec::new();
        while let Some(header) = bytes.get(at..at + 8) {
            let size = u32::from_le_bytes(*header.last_chunk().unwrap());
            found.push((String::from_utf8_lossy(&header[..4]).into_owned(), size));
            at += 8 + size as usize + size as usize % 2;
        }
        found
    }

    fn film(chunks: &[Vec<u8>]) -> Vec<u8> {
        let list = chunk(b"LIST", &[&b"movi"[..], &chunks.concat()].concat());
        chunk(b"RIFF", &[&b"AVI "[..], &list].concat())
    }

    #[test]
    fn what_is_left_of_the_chunks_follows_each_other() {
        let chunks: Vec<Vec<u8>> = (1..8).map(|n| chunk(b"00dc", &[n; 40])).collect();
        let whole = film(&chunks);
        assert_eq!(repaired(&whole), whole);
        let data = |size: u32| ("00dc".to_owned(), size);
        // From the middle of the second to the middle of the third, and a destroyed header.
        let mut lossy = whole.clone();
        lossy[24 + 5 * 48] = 0;
        lossy.drain(24 + 48 + 20..24 + 2 * 48 + 30);
        let left = found(&repaired(&lossy));
        let expected = [data(40), data(30), data(40), data(40), ("JUNK".into(), 40), data(40)];
        assert_eq!(left, expected);
    }

    #[test]
    fn no_damage_makes_it_fail_or_hang() {
        let chunks: Vec<Vec<u8>> = (1..5).map(|n| chunk(b"00dc", &[n; 10])).collect();
        let whole = film(&chunks);
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

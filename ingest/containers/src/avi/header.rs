//! Finds the list of chunks of an AVI, also if bytes are missing in the headers before it.

use std::io;

use super::is_avi;
use crate::matroska::Replacement;
use crate::reader::Reader;

/// How much of a file is searched for the list.
const MOST: usize = 1 << 20;
/// Bytes of the header of a chunk, and of a list with its kind.
const CHUNK: usize = 8;
const LIST: usize = 12;
/// Where the first list of a file starts.
const FIRST: usize = 12;
/// Chunks that are known to lie before the list of chunks.
const KNOWN: [&[u8; 4]; 8] =
    [b"JUNK", b"strh", b"strf", b"strn", b"strd", b"indx", b"vprp", b"dmlh"];
const LISTS: [&[u8; 4]; 4] = [b"hdrl", b"strl", b"odml", b"INFO"];

/// The list of chunks.
pub(super) struct Movie {
    pub(super) at: u64,
    /// Where the headers before it are broken.
    pub(super) damaged_at: Option<u64>,
    /// What makes them end where others begin.
    pub(super) repairs: Vec<Replacement>,
}

/// Finds the list in a file; `None` if it is not an AVI, or has none.
pub(super) fn find_movie(reader: &mut Reader<'_>) -> io::Result<Option<Movie>> {
    let mut bytes = vec![0; MOST];
    reader.go_to(0)?;
    let filled = reader.fill(&mut bytes)?;
    bytes.truncate(filled);
    if !is_avi(&bytes) {
        return Ok(None);
    }
    Ok(movie(&bytes))
}

fn movie(bytes: &[u8]) -> Option<Movie> {
    let is_movie = |list: &[u8]| list.starts_with(b"LIST") && list.ends_with(b"movi");
    let at = FIRST + bytes.get(FIRST..)?.windows(LIST).position(is_movie)?;
    let header = &bytes[..at];
    let mut places = Vec::new();
    let mut damaged_at = None;
    let mut next = FIRST;
    while next < at {
        places.push(next);
        let end = chunk_end(header, next);
        next = end.filter(|end| *end == at || is_chunk(header, *end)).unwrap_or_else(|| {
            damaged_at.get_or_insert(next as u64);
            let from = next + CHUNK.min(at - next);
            (from..at).find(|place| is_known(header, *place)).unwrap_or(at)
        });
    }
    places.push(at);
    let repairs = if damaged_at.is_some() { repairs(header, &places) } else { Vec::new() };
    Some(Movie { at: at as u64, damaged_at, repairs })
}

/// The end of a chunk, or of a list's first bytes.
fn chunk_end(header: &[u8], at: usize) -> Option<usize> {
    if header.get(at..at + 4)? == b"LIST" {
        return Some(at + LIST);
    }
    let size = u32::from_le_bytes(*header.get(at + 4..)?.first_chunk()?);
    let end = (at + CHUNK).checked_add(usize::try_from(size).ok()?)?;
    Some(end + end % 2).filter(|end| *end <= header.len())
}

fn is_known(header: &[u8], at: usize) -> bool {
    let Some(id) = header.get(at..at + 4) else { return false };
    let kind = || header.get(at + CHUNK..at + LIST);
    KNOWN.iter().any(|known| id == *known)
        || id == b"LIST" && kind().is_some_and(|kind| LISTS.iter().any(|list| kind == *list))
}

fn is_chunk(header: &[u8], at: usize) -> bool {
    let id = header.get(at..at + 4);
    id.is_some_and(|id| id.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b' '))
}

/// Gives what does not end where something else begins another length: chunks reach to the next
/// one, lists to the next list, and that of all headers to the end.
fn repairs(header: &[u8], places: &[usize]) -> Vec<Replacement> {
    let is_list = |at: usize| header.get(at..at + 4).is_some_and(|id| id == b"LIST");
    let mut repairs = Vec::new();
    for (index, at) in places.iter().enumerate() {
        let Some(size) = header.get(at + 4..).and_then(<[u8]>::first_chunk) else { continue };
        let size = u32::from_le_bytes(*size) as usize;
        let end = (at + CHUNK).saturating_add(size).saturating_add(size % 2);
        if places[index + 1..].contains(&end) {
            continue;
        }
        let is_all = header.get(at + CHUNK..at + LIST).is_some_and(|kind| kind == b"hdrl");
        let mut later = places[index + 1..].iter();
        let end = match (is_list(*at), is_all) {
            (true, true) => None,
            (true, false) => later.find(|place| is_list(**place)),
            (false, _) => later.next(),
        };
        let end = end.copied().unwrap_or(header.len());
        let size = u32::try_from(end.saturating_sub(at + CHUNK)).unwrap_or(0);
        repairs.push(Replacement { at: (at + 4) as u64, bytes: size.to_le_bytes().to_vec() });
    }
    repairs
}

#[cfg(test)]
#[expect(clippy::cast_possible_truncation, reason = "the films are small")]
mod tests {
    use super::*;

    fn chunk(id: &[u8; 4], data: &[u8]) -> Vec<u8> {
        [id, &u32::try_from(data.len()).unwrap().to_le_bytes()[..], data].concat()
    }

    fn list(kind: &[u8; 4], chunks: &[Vec<u8>]) -> Vec<u8> {
        chunk(b"LIST", &[&kind[..], &chunks.concat()].concat())
    }

    fn film() -> Vec<u8> {
        let stream = list(
            b"strl",
            &[chunk(b"strh", &[1; 56]), chunk(b"strf", &[2; 40]), chunk(b"JUNK", &[0; 400])],
        );
        let extended = list(b"odml", &[chunk(b"dmlh", &[3; 248])]);
        let headers = list(b"hdrl", &[chunk(b"avih", &[4; 56]), stream, extended]);
        let information = list(b"INFO", &[chunk(b"ISFT", b"Lavf59")]);
        let chunks = list(b"movi", &[chunk(b"00dc", b"data")]);
        let all = [headers, information, chunk(b"JUNK", &[0; 100]), chunks];
        chunk(b"RIFF", &[&b"AVI "[..], &all.concat()].concat())
    }

    fn place(bytes: &[u8], id: &[u8; 4]) -> usize {
        bytes.windows(4).position(|found| found == id).unwrap()
    }

    /// Whether lists and chunks before the list of chunks lie in each other.
    fn is_whole(bytes: &[u8], from: usize, to: usize) -> bool {
        let mut at = from;
        while at < to {
            let size = u32::from_le_bytes(*bytes[at + 4..].first_chunk().unwrap()) as usize;
            let end = at + CHUNK + size + size % 2;
            if end > to || bytes[at..at + 4] == *b"LIST" && !is_whole(bytes, at + LIST, end) {
                return false;
            }
            at = end;
        }
        at == to
    }

    #[test]
    fn headers_that_lost_bytes_end_where_others_begin() {
        let film = film();
        let whole = movie(&film).unwrap();
        assert_eq!((whole.damaged_at, whole.repairs.len()), (None, 0));
        assert_eq!(whole.at as usize, place(&film, b"movi") - 8);
        let stuffing = place(&film, b"JUNK");
        for (from, to) in [(stuffing + 20, stuffing + 208), (stuffing + 300, stuffing + 488)] {
            let mut lossy = film.clone();
            lossy.drain(from..to);
            let found = movie(&lossy).unwrap();
            assert_eq!(found.at as usize, place(&lossy, b"movi") - 8);
            assert_eq!(found.damaged_at, Some(stuffing as u64), "{from}");
            for Replacement { at, bytes } in found.repairs {
                lossy[at as usize..][..4].copy_from_slice(&bytes);
            }
            assert!(is_whole(&lossy, FIRST, found.at as usize), "{from}");
        }
        assert!(movie(&film[..200]).is_none());
    }

    #[test]
    fn no_damage_makes_it_fail_or_hang() {
        let film = film();
        for at in 0..film.len() {
            movie(&film[..at]);
            for value in [0, 1, 0x4c, 0x7f, 0xff] {
                let mut bytes = film.clone();
                bytes[at] = value;
                movie(&bytes);
                bytes.drain(at..film.len().min(at + 7));
                movie(&bytes);
            }
        }
    }
}

//! What a Matroska file holds beside its frames, and how to hide that.

use std::fs::File;
use std::io;

use super::ebml::Element;
use super::{ATTACHMENTS, CHAPTERS, CUES, EBML, SEEK_HEAD, SEGMENT, TAGS};
use crate::reader::Reader;

/// Elements that are hidden; in a file with more, the others are not.
const MOST: usize = 100;
const VOID: u8 = 0xec;

/// Bytes that are to be read instead of those in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replacement {
    /// Where.
    pub at: u64,
    /// What. It does not change the length of the file.
    pub bytes: Vec<u8>,
}

/// What hides all parts of a Matroska file that are not needed to read it from front to back: its
/// index, tags, chapters and attachments. A demuxer may refuse a file in which one is damaged.
///
/// # Errors
///
/// The file cannot be read.
pub fn without_index(file: &mut File) -> io::Result<Vec<Replacement>> {
    let mut reader = Reader::new(file)?;
    let mut found = Vec::new();
    match reader.element()? {
        Some(Element { id: EBML, end: Some(end), .. }) => reader.go_to(end)?,
        _ => return Ok(found),
    }
    match reader.element()? {
        Some(Element { id: SEGMENT, .. }) => {}
        _ => return Ok(found),
    }
    while found.len() < MOST
        && let Some(element) = reader.element()?
        && let Some(end) = element.end
    {
        if matches!(element.id, SEEK_HEAD | CUES | TAGS | CHAPTERS | ATTACHMENTS) {
            let bytes = void(end - element.start, element.data - element.start);
            found.push(Replacement { at: element.start, bytes });
        }
        reader.go_to(end)?;
    }
    Ok(found)
}

/// The start of an empty element (RFC 8794, 11.3.2) of this length, in place of the start of
/// another one.
fn void(length: u64, start: u64) -> Vec<u8> {
    // The length of its data takes 8 bytes at most, and has a bit that says how many.
    let width = (start - 1).min(8);
    let data = (length - 1 - width) | 1 << (7 * width);
    let data = data.to_be_bytes();
    let width = usize::try_from(width).unwrap_or(data.len());
    [&[VOID], &data[data.len() - width..]].concat()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn what_is_not_needed_is_hidden_without_changing_a_length() {
        let header = [0x1a, 0x45, 0xdf, 0xa3, 0x80];
        let segment = [0x18, 0x53, 0x80, 0x67, 0x01, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
        let cues = [0x1c, 0x53, 0xbb, 0x6b, 0x40, 0x03, 1, 2, 3];
        let tags = [0x12, 0x54, 0xc3, 0x67, 0x01, 0, 0, 0, 0, 0, 0, 2, 1, 2];
        let cluster = [0x1f, 0x43, 0xb6, 0x75, 0x81, 0];
        let mut whole = [&header[..], &segment, &cues, &cluster, &tags].concat();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&whole).unwrap();
        let found = without_index(&mut file).unwrap();
        assert_eq!(found.iter().map(|found| found.at).collect::<Vec<_>>(), [17, 32]);
        for Replacement { at, bytes } in found {
            let at = usize::try_from(at).unwrap();
            whole[at..at + bytes.len()].copy_from_slice(&bytes);
        }
        let mut hidden = tempfile::tempfile().unwrap();
        hidden.write_all(&whole).unwrap();
        let mut reader = Reader::new(&mut hidden).unwrap();
        reader.go_to(17).unwrap();
        let mut ids = Vec::new();
        while let Some(element) = reader.element().unwrap() {
            ids.push(element.id);
            reader.go_to(element.end.unwrap()).unwrap();
        }
        assert_eq!(ids, [0xec, 0x1f43_b675, 0xec]);
        assert_eq!(reader.position(), whole.len() as u64);
    }
}

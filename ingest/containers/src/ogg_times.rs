//! Theora in Ogg whose first frames have negative times.
//!
//! `ffmpeg -ss 3 -c copy` writes them: the frames between the key frame and the cut. Demuxers take
//! these times for huge ones.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use crate::ogg::SIGNATURE;

const HEADER: usize = 27;
/// Bytes of the largest page: its header, 255 lengths, and as many segments.
const LARGEST: usize = HEADER + 255 + 255 * 255;
/// Pages that are read to find the first frame.
const MOST_PAGES: usize = 1000;
/// The time of a page on which no packet ends.
const NO_TIME: i64 = -1;
/// The identification header of Theora, and where it says how times are written (Theora
/// specification, 6.2).
const THEORA: &[u8] = b"\x80theora";
const SHIFT_AT: usize = 40;

/// The pages of a file, with times from the first frame on.
#[derive(Debug)]
pub struct OggPages {
    file: File,
    at: u64,
    serial: [u8; 4],
    /// The number of the first page with a frame.
    first: u32,
    /// What is added to the times.
    later: i64,
}

impl OggPages {
    /// `None` if the times are not negative, or it is not such a file.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub fn open(file: File) -> io::Result<Option<Self>> {
        let mut at = 0;
        let mut video: Option<([u8; 4], u32)> = None;
        for _ in 0..MOST_PAGES {
            let Some(page) = read(&file, at)?.filter(|page| page.starts_with(&SIGNATURE)) else {
                break;
            };
            at += page.len() as u64;
            let data = data(&page);
            if video.is_none() && data.starts_with(THEORA) {
                let Some(bits) = data.get(SHIFT_AT..SHIFT_AT + 2) else { break };
                video = Some((serial(&page), shift([bits[0], bits[1]])));
                continue;
            }
            let time = time(&page);
            let is_frame = data.first().is_some_and(|first| first & 0x80 == 0);
            match video {
                Some((video, shift)) if video == serial(&page) && is_frame && time != NO_TIME => {
                    let frame = frame_of(time, shift);
                    let ended = lengths(&page).iter().filter(|length| **length < 255).count();
                    let later = i64::try_from(ended).unwrap_or(0).saturating_sub(frame);
                    let later = later.checked_mul(1 << shift).filter(|_| time < 0 && frame < 0);
                    let first = number(&page);
                    return Ok(later.map(|later| Self {
                        file,
                        at: 0,
                        serial: video,
                        first,
                        later,
                    }));
                }
                _ => {}
            }
        }
        Ok(None)
    }

    /// The next bytes, usually a page. `None` at the end of the file.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub fn next_page(&mut self) -> io::Result<Option<Vec<u8>>> {
        let Some(mut page) = read(&self.file, self.at)? else { return Ok(None) };
        self.at += page.len() as u64;
        if page.starts_with(&SIGNATURE)
            && page.len() >= HEADER
            && serial(&page) == self.serial
            && number(&page) >= self.first
            && time(&page) != NO_TIME
        {
            let time = time(&page).saturating_add(self.later);
            page[6..14].copy_from_slice(&time.to_le_bytes());
            page[22..26].fill(0);
            let sum = checksum(&page).to_le_bytes();
            page[22..26].copy_from_slice(&sum);
        }
        Ok(Some(page))
    }
}

/// The shift of the number of a key frame, from the end of the identification header.
pub(crate) fn shift(bytes: [u8; 2]) -> u32 {
    u32::from(u16::from_be_bytes(bytes) >> 5 & 31)
}

/// The number of a frame: that of its key frame, and how many frames it is behind it.
pub(crate) fn frame_of(time: i64, shift: u32) -> i64 {
    (time >> shift).saturating_add(time & ((1 << shift) - 1))
}

/// The page at a position, or else what lies before the next one. `None` at the end of the file.
fn read(file: &File, at: u64) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = vec![0; LARGEST];
    let mut filled = 0;
    while filled < bytes.len() {
        match file.read_at(&mut bytes[filled..], at + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(filled);
    let is_page = bytes.starts_with(&SIGNATURE) && bytes.len() >= HEADER;
    let length = if is_page {
        let lengths = lengths(&bytes);
        let data: usize = lengths.iter().map(|length| usize::from(*length)).sum();
        HEADER + lengths.len() + data
    } else {
        let next = bytes.windows(4).skip(1).position(|found| found == SIGNATURE);
        next.map_or(bytes.len(), |next| next + 1)
    };
    bytes.truncate(length);
    Ok((!bytes.is_empty()).then_some(bytes))
}

// These are for pages with a whole header.

fn time(page: &[u8]) -> i64 {
    page.get(6..14).and_then(|time| time.first_chunk()).map_or(NO_TIME, |t| i64::from_le_bytes(*t))
}

fn serial(page: &[u8]) -> [u8; 4] {
    page.get(14..18).and_then(|serial| serial.first_chunk()).copied().unwrap_or_default()
}

fn number(page: &[u8]) -> u32 {
    page.get(18..22).and_then(|n| n.first_chunk()).map_or(0, |number| u32::from_le_bytes(*number))
}

/// The lengths of the segments that are there.
fn lengths(page: &[u8]) -> &[u8] {
    let lengths = page.get(HEADER..).unwrap_or_default();
    let count = page.get(HEADER - 1).map_or(0, |count| usize::from(*count));
    &lengths[..count.min(lengths.len())]
}

fn data(page: &[u8]) -> &[u8] {
    page.get(HEADER + lengths(page).len()..).unwrap_or_default()
}

/// RFC 3533, section 6: a CRC of 32 bits.
pub(crate) fn checksum(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |sum: u32, byte| {
        (0..8).fold(sum ^ u32::from(*byte) << 24, |sum, _| {
            if sum >> 31 == 1 { sum << 1 ^ 0x04c1_1db7 } else { sum << 1 }
        })
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::io::Write;

    use super::*;

    fn page(number: u32, time: i64, packets: &[&[u8]]) -> Vec<u8> {
        let mut page = b"OggS\0\0".to_vec();
        page.extend(time.to_le_bytes());
        page.extend([7, 0, 0, 0]);
        page.extend(number.to_le_bytes());
        page.extend([0; 4]);
        page.push(u8::try_from(packets.len()).unwrap());
        page.extend(packets.iter().map(|packet| u8::try_from(packet.len()).unwrap()));
        page.extend(packets.concat());
        page
    }

    fn film(first: i64) -> Vec<u8> {
        // A shift of 6.
        let mut header = [THEORA, &[0; 35]].concat();
        header[SHIFT_AT + 1] = 6 << 5;
        [
            page(0, 0, &[&header]),
            page(1, 0, &[b"\x81theora", b"\x82theora"]),
            page(2, first, &[b"a"]),
            page(3, first + 3, &[b"b", b"c", b"d"]),
            page(4, NO_TIME, &[]),
        ]
        .concat()
    }

    fn pages(bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        let mut pages = OggPages::open(file).unwrap()?;
        Some(std::iter::from_fn(|| pages.next_page().unwrap()).collect())
    }

    #[test]
    fn times_begin_with_the_first_frame_if_they_are_negative() {
        let pages = pages(&film(-2 << 6)).unwrap();
        let times: Vec<_> = pages.iter().map(|page| time(page)).collect();
        assert_eq!(times, [0, 0, 1 << 6, (1 << 6) + 3, NO_TIME]);
        assert_eq!(super::tests::pages(&film(1 << 6)), None);
        assert_eq!(super::tests::pages(b"no Ogg"), None);
    }

    #[test]
    fn bytes_between_pages_stay_where_they_are() {
        let damaged = [&film(-2 << 6)[..], b"junk", &page(5, 9, &[b"e"])].concat();
        let pages = pages(&damaged).unwrap();
        assert_eq!((&pages[5][..], time(&pages[6])), (&b"junk"[..], 9 + (3 << 6)));
    }

    #[test]
    fn the_checksum_is_that_of_ogg() {
        assert_eq!(checksum(b"123456789"), 0x89a1_897f);
    }

    #[test]
    fn no_change_of_a_file_makes_it_hang_or_panic() {
        let film = film(-2 << 6);
        for at in 0..film.len() {
            for value in [0, 1, 0x7f, 0xff] {
                let mut bytes = film.clone();
                bytes[at] = value;
                pages(&bytes);
            }
            pages(&film[..at]);
        }
    }
}

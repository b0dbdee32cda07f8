//! Ogg: the packets of its video (RFC 3533, section 6).
//!
//! Files that are appended to each other are one Ogg file of several chains, and all of it is read.

use std::fs::File;
use std::io;

use crate::contents::{Container, Contents, Fault, VideoTrack};
use crate::matroska::Replacement;
use crate::ogg_times::{self, frame_of};
use crate::reader::Reader;

pub(crate) const SIGNATURE: [u8; 4] = *b"OggS";
/// Bytes of a page before the lengths of its segments.
const PAGE_HEADER: usize = 27;
/// The most that segments of a page hold.
const MOST_DATA: usize = 255 * 255;
/// Bytes that name a codec, and of Theora say how times are written.
const NAME: usize = 42;
/// The flags of a page that begins or ends a stream.
const BEGINS: u8 = 2;
const ENDS: u8 = 4;
/// Where a page has its flags and its checksum.
const FLAGS_AT: usize = 5;
const CHECKSUM_AT: usize = 22;
/// More ends than this are left as they are.
const MOST_ENDS: usize = 1000;

pub(crate) fn inspect(file: &mut File) -> io::Result<Contents> {
    let Walk { reader, video, ends_in_page, .. } = Walk::whole(file)?;
    let gaps = video.as_ref().map_or(0, |video| video.gaps);
    let lost = (gaps > 0).then_some(Fault::PacketsLost { gaps });
    let ends_in_page = ends_in_page.then_some(Fault::EndsInPacket);
    let track = video.map(|video| VideoTrack {
        number: 1,
        codec: Some(video.codec),
        is_default: true,
        frames: (!video.repeats).then_some(video.frames),
        maybe_hidden: 0,
        is_packed: false,
        start: None,
    });
    Ok(Contents {
        container: Container::Ogg,
        tracks: track.into_iter().collect(),
        faults: lost.into_iter().chain(ends_in_page).collect(),
        parts: Vec::new(),
        length: reader.length(),
    })
}

/// What gives last frames that come later than the rate says their own times: pages that do not end
/// the stream. Demuxers show the frames on one that does as soon as those before it end.
///
/// # Errors
///
/// The file cannot be read.
pub fn ogg_without_ends(file: &mut File) -> io::Result<Vec<Replacement>> {
    Ok(Walk::whole(file)?.late_ends)
}

struct Walk<'a> {
    reader: Reader<'a>,
    video: Option<Video>,
    ends_in_page: bool,
    late_ends: Vec<Replacement>,
}

struct Video {
    codec: &'static str,
    serial: [u8; 4],
    /// Of the packets that follow, how many are not frames.
    headers: u64,
    frames: u64,
    /// Whether there are packets without data, which repeat the frame before them.
    repeats: bool,
    /// The length of the packet that is not finished.
    pending: u64,
    next_page: u32,
    gaps: u64,
    /// How times are written: by how much the number of a key frame is shifted, and whether that of
    /// frames since it follows.
    shift: u32,
    has_offset: bool,
    /// The number of the last frame with a time.
    last: Option<i64>,
}

impl<'a> Walk<'a> {
    fn whole(file: &'a mut File) -> io::Result<Self> {
        let reader = Reader::new(file)?;
        let mut walk = Self { reader, video: None, ends_in_page: false, late_ends: Vec::new() };
        while walk.page()? {}
        Ok(walk)
    }

    /// Reads a page. False if there are no more.
    fn page(&mut self) -> io::Result<bool> {
        let mut header = [0; PAGE_HEADER];
        let start = self.reader.position();
        if self.reader.fill(&mut header)? < header.len() {
            self.ends_in_page = header.starts_with(&SIGNATURE) && self.video.is_some();
            return Ok(false);
        }
        if !header.starts_with(&SIGNATURE) {
            return self.next_signature(start + 1);
        }
        let [_, _, _, _, _, kind, t0, t1, t2, t3, t4, t5, t6, t7, serial @ .., _, _, _, _, _] =
            header;
        let [s0, s1, s2, s3, n0, n1, n2, n3] = serial;
        let time = i64::from_le_bytes([t0, t1, t2, t3, t4, t5, t6, t7]);
        let (serial, number) = ([s0, s1, s2, s3], u32::from_le_bytes([n0, n1, n2, n3]));
        let mut lengths = [0; 255];
        let lengths = &mut lengths[..usize::from(header[PAGE_HEADER - 1])];
        let is_listed = self.reader.fill(lengths)? == lengths.len();
        let data = self.reader.position();
        let end = data + lengths.iter().map(|length| u64::from(*length)).sum::<u64>();
        if !is_listed || end > self.reader.length() {
            self.ends_in_page = true;
            return Ok(false);
        }
        if kind & BEGINS != 0 {
            self.begin(serial)?;
        }
        if let Some(video) = self.video.as_mut().filter(|video| video.serial == serial) {
            video.add(number, lengths, kind & BEGINS != 0);
            if video.is_late(time, lengths) && kind & ENDS != 0 && self.late_ends.len() < MOST_ENDS
            {
                self.reader.go_to(start)?;
                let mut page = vec![0; PAGE_HEADER + lengths.len() + MOST_DATA];
                page.truncate(usize::try_from(end - start).unwrap_or(0));
                self.reader.fill(&mut page)?;
                self.late_ends.extend(without_end(page, start).into_iter().flatten());
            }
        }
        self.reader.go_to(end)?;
        Ok(true)
    }

    /// A stream begins with the page whose data follows.
    fn begin(&mut self, serial: [u8; 4]) -> io::Result<()> {
        let mut name = [0; NAME];
        self.reader.fill(&mut name)?;
        let (codec, headers, shift, has_offset) = match &name {
            [0x80, b't', b'h', b'e', b'o', b'r', b'a', .., high, low] => {
                ("Theora", 3, ogg_times::shift([*high, *low]), true)
            }
            [b'O', b'V', b'P', b'8', b'0', ..] => ("VP8", 2, 32, false),
            _ => return Ok(()),
        };
        match &mut self.video {
            // Another video beside the first one is not counted; one behind it is its next chain.
            Some(video) if video.frames == 0 => {}
            Some(video) => {
                (video.serial, video.headers, video.pending) = (serial, headers, 0);
                (video.shift, video.has_offset, video.last) = (shift, has_offset, None);
            }
            None => {
                self.video = Some(Video {
                    codec,
                    serial,
                    headers,
                    frames: 0,
                    repeats: false,
                    pending: 0,
                    next_page: 0,
                    gaps: 0,
                    shift,
                    has_offset,
                    last: None,
                });
            }
        }
        Ok(())
    }

    /// Finds the next page after bytes that are none. Behind the last page, they do not matter.
    fn next_signature(&mut self, from: u64) -> io::Result<bool> {
        self.reader.go_to(from)?;
        let mut last = [0; 4];
        while let Some(byte) = self.reader.byte()? {
            last.rotate_left(1);
            last[3] = byte;
            if last == SIGNATURE {
                self.reader.go_to(self.reader.position() - 4)?;
                return Ok(true);
            }
        }
        Ok(false)
    }
}

impl Video {
    fn add(&mut self, number: u32, lengths: &[u8], begins: bool) {
        if begins {
            self.next_page = number;
        }
        if number != self.next_page {
            self.gaps += 1;
            self.pending = 0;
        }
        self.next_page = number.wrapping_add(1);
        for length in lengths {
            self.pending = self.pending.saturating_add(u64::from(*length));
            // A packet ends with a segment that is not full.
            if *length == 255 {
                continue;
            }
            if self.headers > 0 {
                self.headers -= 1;
            } else {
                self.frames += 1;
                self.repeats |= self.pending == 0;
            }
            self.pending = 0;
        }
    }

    /// Whether the frames of a page come later than right behind those before.
    fn is_late(&mut self, time: i64, lengths: &[u8]) -> bool {
        if time < 0 || self.headers > 0 {
            return false;
        }
        let number = if self.has_offset { frame_of(time, self.shift) } else { time >> self.shift };
        let ended = lengths.iter().filter(|length| **length < u8::MAX).count();
        let ended = i64::try_from(ended).unwrap_or(i64::MAX);
        let before = self.last.replace(number);
        before.is_some_and(|before| number.saturating_sub(before) > ended)
    }
}

/// What makes a page one that does not end the stream.
fn without_end(mut page: Vec<u8>, at: u64) -> Option<[Replacement; 2]> {
    let flags = page.get_mut(FLAGS_AT)?;
    *flags &= !ENDS;
    let flags = vec![*flags];
    page.get_mut(CHECKSUM_AT..CHECKSUM_AT + 4)?.fill(0);
    let sum = ogg_times::checksum(&page).to_le_bytes().to_vec();
    Some([
        Replacement { at: at + FLAGS_AT as u64, bytes: flags },
        Replacement { at: at + CHECKSUM_AT as u64, bytes: sum },
    ])
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn page(kind: u8, number: u32, packets: &[&[u8]]) -> Vec<u8> {
        let mut page = b"OggS\0".to_vec();
        page.push(kind);
        page.extend([0; 8]);
        page.extend([7, 0, 0, 0]);
        page.extend(number.to_le_bytes());
        page.extend([0; 4]);
        page.push(u8::try_from(packets.len()).unwrap());
        page.extend(packets.iter().map(|packet| u8::try_from(packet.len()).unwrap()));
        page.extend(packets.concat());
        page
    }

    fn pages() -> Vec<Vec<u8>> {
        vec![
            page(BEGINS, 0, &[b"\x80theora"]),
            page(0, 1, &[b"comment", b"setup"]),
            page(0, 2, &[b"a", b"b"]),
            page(4, 3, &[b"c"]),
        ]
    }

    fn contents(bytes: &[u8]) -> Contents {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        ogg_without_ends(&mut file).unwrap();
        inspect(&mut file).unwrap()
    }

    fn found(bytes: &[u8]) -> (Option<u64>, Vec<Fault>) {
        let contents = contents(bytes);
        (contents.tracks[0].frames, contents.faults)
    }

    #[test]
    fn packets_behind_the_headers_are_frames_in_every_chain() {
        let film = pages().concat();
        assert_eq!(found(&film), (Some(3), vec![]));
        assert_eq!(found(&film.repeat(2)), (Some(6), vec![]));
        assert_eq!(found(&[&film[..], &[0x55; 100]].concat()), (Some(3), vec![]));
    }

    #[test]
    fn lost_pages_and_a_lost_end_are_noticed() {
        let mut pages = pages();
        let film = pages.concat();
        assert_eq!(found(&film[..film.len() - 1]).1, [Fault::EndsInPacket]);
        pages.remove(2);
        assert_eq!(found(&pages.concat()).1, [Fault::PacketsLost { gaps: 1 }]);
    }

    #[test]
    fn a_last_frame_that_comes_late_does_not_end_the_stream() {
        // A shift of 6.
        let mut header = [&b"\x80theora"[..], &[0; 35]].concat();
        header[41] = 6 << 5;
        let ends = |last: i64| {
            let mut pages = [
                page(BEGINS, 0, &[&header]),
                page(0, 1, &[b"comment", b"setup"]),
                page(0, 2, &[b"a", b"b"]),
                page(ENDS, 3, &[b"c"]),
            ];
            pages[2][6..14].copy_from_slice(&(1_i64 << 6 | 1).to_le_bytes());
            pages[3][6..14].copy_from_slice(&last.to_le_bytes());
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&pages.concat()).unwrap();
            let at = pages[..3].concat().len() as u64;
            let found = ogg_without_ends(&mut file).unwrap();
            let places: Vec<_> = found.iter().map(|new| new.at - at).collect();
            (places, found.first().map(|new| new.bytes.clone()))
        };
        assert_eq!(ends(1 << 6 | 2), (vec![], None));
        assert_eq!(ends(1 << 6 | 9), (vec![5, 22], Some(vec![0])));
    }

    #[test]
    fn a_packet_without_data_only_repeats_a_frame() {
        let mut pages = pages();
        pages.push(page(0, 4, &[b""]));
        assert_eq!(found(&pages.concat()), (None, vec![]));
    }

    #[test]
    fn no_change_of_a_file_makes_it_hang_or_panic() {
        let film = pages().concat();
        for at in 0..film.len() {
            for value in [0, 1, 0x7f, 0xff] {
                let mut bytes = film.clone();
                bytes[at] = value;
                contents(&bytes);
            }
            contents(&film[..at]);
        }
    }
}

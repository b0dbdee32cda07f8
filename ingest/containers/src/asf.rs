//! ASF (Windows Media): when its timeline starts, and whether its end is missing (Microsoft,
//! "Advanced Systems Format Specification", 2, 3.2, 4 and 5.2).

use std::fs::File;
use std::io;

use crate::contents::{Container, Contents, Fault, VideoTrack};
use crate::reader::Reader;

const HEADER: [u8; 16] = *b"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9\x00\xaa\x00\x62\xce\x6c";
const DATA: [u8; 16] = *b"\x36\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9\x00\xaa\x00\x62\xce\x6c";
/// Bytes of the data object before its first packet.
const DATA_HEADER: u64 = 50;
/// Bytes of a packet that hold its send time, at most.
const PACKET_START: usize = 32;

pub(crate) fn is_one(start: &[u8]) -> bool {
    start.starts_with(&HEADER)
}

pub(crate) fn inspect(file: &mut File) -> io::Result<Contents> {
    let mut reader = Reader::new(file)?;
    let length = reader.length();
    let mut contents = Contents {
        container: Container::Asf,
        tracks: Vec::new(),
        faults: Vec::new(),
        parts: Vec::new(),
        length,
    };
    // The header and the data follow each other.
    for _ in 0..2 {
        let start = reader.position();
        let (mut name, mut size) = ([0; 16], [0; 8]);
        if reader.fill(&mut name)? < name.len() || reader.fill(&mut size)? < size.len() {
            break;
        }
        let size = u64::from_le_bytes(size);
        let end = start.saturating_add(size);
        if name != DATA {
            reader.go_to(end)?;
            continue;
        }
        // A recording that was not finished has no length.
        if size > DATA_HEADER && end > length {
            contents.faults.push(Fault::Truncated { missing: end - length });
        }
        reader.go_to(start + DATA_HEADER)?;
        let mut packet = [0; PACKET_START];
        let filled = reader.fill(&mut packet)?;
        let sent = send_time(&packet[..filled]).map(|time| u64::from(time) * 1_000_000);
        contents.tracks.push(VideoTrack {
            number: 1,
            codec: None,
            is_default: true,
            frames: None,
            start: sent,
        });
        break;
    }
    Ok(contents)
}

/// When a packet is sent, in milliseconds of the timeline.
fn send_time(packet: &[u8]) -> Option<u32> {
    let first = *packet.first()?;
    // Error correction data precedes the packet's own flags.
    let at = if first & 0x80 == 0 { 0 } else { 1 + usize::from(first & 0x0f) };
    let lengths = *packet.get(at)?;
    // The packet's length, its sequence number and its padding are 0, 1, 2 or 4 bytes long.
    let width = |shift: u8| [0, 1, 2, 4][usize::from(lengths >> shift & 3)];
    let time = at + 2 + width(5) + width(1) + width(3);
    let bytes = packet.get(time..time + 4)?.try_into().ok()?;
    Some(u32::from_le_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn object(name: [u8; 16], size: u64, content: &[u8]) -> Vec<u8> {
        [&name[..], &size.to_le_bytes(), content].concat()
    }

    fn film(missing: u64) -> Vec<u8> {
        let packet = [0x82, 0, 0, 0x08, 0x5d, 7, 0x10, 0x27, 0, 0, 0, 0];
        let data = [&[0; 26][..], &packet].concat();
        let size = 24 + data.len() as u64 + missing;
        [object(HEADER, 30, &[0; 6]), object(DATA, size, &data)].concat()
    }

    fn contents(bytes: &[u8]) -> Contents {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        inspect(&mut file).unwrap()
    }

    #[test]
    fn the_first_packet_says_when_the_timeline_starts() {
        assert!(is_one(&film(0)));
        let whole = contents(&film(0));
        assert_eq!((whole.tracks[0].start, whole.faults), (Some(10_000_000_000), vec![]));
    }

    #[test]
    fn a_file_without_its_end_is_truncated() {
        assert_eq!(contents(&film(7)).faults, [Fault::Truncated { missing: 7 }]);
    }

    #[test]
    fn no_change_of_a_file_makes_it_panic() {
        let film = film(0);
        for at in 0..film.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut bytes = film.clone();
                bytes[at] = value;
                contents(&bytes);
            }
            contents(&film[..at]);
        }
    }
}

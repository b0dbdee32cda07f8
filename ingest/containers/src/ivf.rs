//! IVF, the container of libvpx and libaom: a header of 32 bytes, then for each packet its length
//! in 4 bytes, its time in 8, and the packet.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};

use crate::contents::{Container, Contents, Fault, VideoTrack};

const HEADER: usize = 32;
const PACKET_HEADER: usize = 12;

/// The signature and version.
pub(crate) fn is_one(start: &[u8]) -> bool {
    start.starts_with(b"DKIF\0\0")
}

/// Reads the file's packets up to the last one, without their data.
pub(crate) fn inspect(file: &mut File) -> io::Result<Contents> {
    let length = file.seek(SeekFrom::End(0))?;
    file.rewind()?;
    let mut reader = BufReader::new(file);
    let mut head = [0; HEADER];
    reader.read_exact(&mut head).or_else(end_of_file)?;
    let codec = match &head[8..12] {
        b"VP80" => Some("VP8"),
        b"VP90" => Some("VP9"),
        b"AV01" => Some("AV1"),
        _ => None,
    };
    let mut at = u64::from(u16::from_le_bytes([head[6], head[7]])).max(HEADER as u64);
    reader.seek(SeekFrom::Start(at))?;
    let mut missing = 0;
    while at < length && missing == 0 {
        let mut packet = [0; PACKET_HEADER];
        reader.read_exact(&mut packet).or_else(end_of_file)?;
        let size = u32::from_le_bytes([packet[0], packet[1], packet[2], packet[3]]);
        let end = at + PACKET_HEADER as u64 + u64::from(size);
        missing = end.saturating_sub(length);
        reader.seek_relative(i64::from(size))?;
        at = end;
    }
    // A packet may hold no frame that is shown, or several.
    let track = VideoTrack {
        number: 1,
        codec,
        is_default: true,
        frames: None,
        maybe_hidden: 0,
        is_packed: false,
        start: None,
    };
    Ok(Contents {
        container: Container::Ivf,
        tracks: vec![track],
        faults: (missing > 0).then_some(Fault::Truncated { missing }).into_iter().collect(),
        parts: Vec::new(),
        length,
    })
}

fn end_of_file(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::UnexpectedEof { Ok(()) } else { Err(error) }
}

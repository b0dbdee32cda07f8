//! Tables of a transport stream: which programs it has, and their streams.

use super::PesCodec;

/// The longest section of these tables, with its header.
const LONGEST: usize = 1024;

/// A section of a program association table or a program map table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Table {
    /// The numbers of the programs, in order; empty if they are spread over several sections.
    Programs(Vec<u16>),
    Streams {
        program: u16,
        videos: Vec<VideoStream>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct VideoStream {
    pub(super) pid: u16,
    pub(super) codec: Result<PesCodec, &'static str>,
}

/// Puts the sections of one stream of packets together.
#[derive(Clone, Debug, Default)]
pub(super) struct Sections(Vec<u8>);

impl Sections {
    /// Takes a packet's payload, and returns the table that it completes. Packets with several
    /// sections are not expected of these tables: the first one is returned.
    pub(super) fn push(&mut self, payload: &[u8], is_start: bool) -> Option<Table> {
        if is_start {
            let pointer = usize::from(*payload.first()?);
            let complete = payload.get(1..1 + pointer).and_then(|rest| self.extend(rest));
            self.0.clear();
            let table = self.extend_new(payload.get(1 + pointer..)?);
            return table.or(complete);
        }
        if self.0.is_empty() { None } else { self.extend(payload) }
    }

    fn extend_new(&mut self, data: &[u8]) -> Option<Table> {
        matches!(data.first(), Some(0 | 2)).then(|| self.extend(data)).flatten()
    }

    fn extend(&mut self, data: &[u8]) -> Option<Table> {
        self.0.extend_from_slice(data.get(..LONGEST.min(data.len())).unwrap_or_default());
        let &[_, high, low, ..] = self.0.as_slice() else { return None };
        let length = 3 + (usize::from(high & 0x0f) << 8 | usize::from(low));
        if length > LONGEST {
            self.0.clear();
            return None;
        }
        let table = parse(self.0.get(..length)?);
        self.0.clear();
        table
    }
}

/// ISO/IEC 13818-1, 2.4.4.3 and 2.4.4.8.
fn parse(section: &[u8]) -> Option<Table> {
    let (body, _) = section.split_at_checked(section.len().checked_sub(4)?)?;
    // Over a section with its checksum, the CRC is 0.
    let &[table, syntax, _, id_high, id_low, version, _, last, ref entries @ ..] = body else {
        return None;
    };
    let is_current = version & 1 != 0;
    if syntax & 0x80 == 0 || !is_current || crc(section) != 0 {
        return None;
    }
    let number = |high: u8, low: u8| u16::from(high) << 8 | u16::from(low);
    match table {
        0 if last > 0 => Some(Table::Programs(Vec::new())),
        0 => Some(Table::Programs(
            entries
                .chunks_exact(4)
                .map(|entry| number(entry[0], entry[1]))
                .filter(|program| *program != 0)
                .collect(),
        )),
        2 => {
            let &[_, _, high, low, ref rest @ ..] = entries else { return None };
            let streams = rest.get(usize::from(number(high & 0x0f, low))..)?;
            Some(Table::Streams { program: number(id_high, id_low), videos: videos(streams) })
        }
        _ => None,
    }
}

/// The video streams of a program map.
fn videos(mut streams: &[u8]) -> Vec<VideoStream> {
    let mut videos = Vec::new();
    while let &[stream_type, pid_high, pid_low, high, low, ref rest @ ..] = streams {
        let length = usize::from(high & 0x0f) << 8 | usize::from(low);
        let (descriptors, after) = rest.split_at_checked(length).unwrap_or((rest, &[]));
        if let Some(codec) = codec(stream_type, descriptors) {
            let pid = u16::from(pid_high & 0x1f) << 8 | u16::from(pid_low);
            videos.push(VideoStream { pid, codec });
        }
        streams = after;
    }
    videos
}

/// The codec of a stream, or the name of one that is not read here; `None` if it is not video.
fn codec(stream_type: u8, mut descriptors: &[u8]) -> Option<Result<PesCodec, &'static str>> {
    if let Some(codec) = PesCodec::from_stream_type(stream_type) {
        return Some(Ok(codec));
    }
    match stream_type {
        0x21 => return Some(Err("JPEG 2000")),
        0x33 => return Some(Err("H.266")),
        0x42 => return Some(Err("AVS")),
        0xd1 => return Some(Err("Dirac")),
        0xea => return Some(Err("VC-1")),
        // Private data names itself.
        0x06 => {}
        _ => return None,
    }
    while let &[tag, length, ref rest @ ..] = descriptors {
        let (descriptor, after) = rest.split_at_checked(usize::from(length))?;
        match (tag, descriptor) {
            (5, [b'H', b'E', b'V', b'C', ..]) => return Some(Ok(PesCodec::Hevc)),
            (5, [b'A', b'V', b'0', b'1', ..]) => return Some(Err("AV1")),
            (5, [b'V', b'P', b'0', b'9', ..]) => return Some(Err("VP9")),
            (5, [b'd', b'r', b'a', b'c', ..]) => return Some(Err("Dirac")),
            _ => descriptors = after,
        }
    }
    None
}

/// ISO/IEC 13818-1, annex A.
fn crc(data: &[u8]) -> u32 {
    data.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte) << 24, |crc, _| {
            if crc & 0x8000_0000 != 0 { crc << 1 ^ 0x04c1_1db7 } else { crc << 1 }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes of a section that ffmpeg wrote.
    fn bytes(hex: &str) -> Vec<u8> {
        let digits = hex.as_bytes().chunks(2);
        digits.map(|two| u8::from_str_radix(str::from_utf8(two).unwrap(), 16).unwrap()).collect()
    }

    #[test]
    fn tables_name_programs_and_their_video() {
        let mut sections = Sections::default();
        let programs = bytes("0000b0110001c100000001f0000002f00120827a4dffff");
        assert_eq!(sections.push(&programs, true), Some(Table::Programs(vec![1, 2])));
        let mut streams = bytes("0002b0120002c10000e101f0001be101f00072e9daa3ffff");
        let videos = vec![VideoStream { pid: 257, codec: Ok(PesCodec::H264) }];
        let table = Some(Table::Streams { program: 2, videos });
        assert_eq!(sections.push(&streams, true), table);
        let (first, second) = streams.split_at(9);
        assert_eq!(sections.push(first, true), None);
        assert_eq!(sections.push(second, false), table);
        streams[12] ^= 1;
        assert_eq!(sections.push(&streams, true), None);
    }
}

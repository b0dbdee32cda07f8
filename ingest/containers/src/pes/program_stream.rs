//! Program streams (ISO/IEC 13818-1, 2.5, and ISO/IEC 11172-1): `.mpg`, `.vob`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek};

use super::clock::Clock;
use super::header::{PesHeader, VIDEO};
use super::picture_counter::PictureCounter;
use super::{
    Framing, PesCodec, PesPart, PesProgram, PesVideo, nanoseconds, picture_faults, ts_packets,
    video,
};
use crate::contents::{Container, Fault};

const END: u8 = 0xb9;
const PACK: u8 = 0xba;
const STREAM_MAP: u8 = 0xbc;
const BLOCK: usize = 1 << 20;
/// The longest packet, and the start of the next.
const LONGEST: usize = 6 + 0xffff + 4;
/// How much of a file may precede its first pack.
const SEARCH: usize = 64 << 10;
/// Zeros between packets that are more than stuffing.
const HOLE: u64 = 64;

/// Whether a file that is nothing else is a program stream whose beginning is missing.
pub(super) fn is_rest_of_one(file: &mut File) -> io::Result<bool> {
    let mut head = Vec::new();
    file.rewind()?;
    file.take(SEARCH as u64).read_to_end(&mut head)?;
    if ts_packets::is_other(&head) {
        return Ok(false);
    }
    let is_start = |data: &[u8]| match *data {
        [0, 0, 1, PACK, kind, _, _, _, _, _, _, _, _, stuffing, ref rest @ ..]
            if kind & 0xc4 == 0x44 =>
        {
            matches!(rest.get(usize::from(stuffing & 7)..), Some([0, 0, 1, END..=0xff, ..]))
        }
        [0, 0, 1, PACK, kind, _, _, _, _, _, _, _, 0, 0, 1, END..=0xff, ..] => kind & 0xf1 == 0x21,
        _ => false,
    };
    Ok((0..head.len()).any(|at| is_start(&head[at..])))
}

/// Whether a file is a program stream, from its start on.
pub(super) fn is_one(file: &mut File) -> io::Result<bool> {
    let mut start = [0; 4];
    file.rewind()?;
    let read = file.read(&mut start)?;
    Ok(start[..read] == [0, 0, 1, PACK])
}

/// What the file holds; `None` if it has no video that can be read here.
pub(super) fn scan(file: &File) -> io::Result<Option<PesVideo>> {
    let mut packs = Packs::new(file.try_clone()?)?;
    let mut streams: BTreeMap<u8, Stream> = BTreeMap::new();
    let mut declared: BTreeMap<u8, u8> = BTreeMap::new();
    while let Some(packet) = packs.next()? {
        match packet {
            [_, _, _, STREAM_MAP, map @ ..] => read_stream_map(map, &mut declared),
            [_, _, _, stream, ..] if VIDEO.contains(stream) => {
                let Some(header) = PesHeader::parse(packet) else { continue };
                streams.entry(*stream).or_insert_with(Stream::new).add(header, packet);
            }
            _ => {}
        }
    }
    let part = streams.iter().find_map(|(id, stream)| {
        let declared = declared.get(id).and_then(|kind| PesCodec::from_stream_type(*kind));
        Some(PesPart {
            codec: stream.codec.or(declared)?,
            pictures: stream.pictures.count(),
            packets: stream.packets,
            decodable: 0,
            duration: stream.last.and_then(nanoseconds),
            shown_from: 0,
            stream: u16::from(*id),
            from: 0,
            to: u64::MAX,
        })
    });
    let Some(part) = part else { return Ok(None) };
    let faults = [
        (packs.gaps > 0).then_some(Fault::PacketsLost { gaps: packs.gaps }),
        (packs.missing > 0).then_some(Fault::EndsInPacket),
    ];
    let program = PesProgram {
        parts: vec![part],
        faults: faults.into_iter().flatten().chain(picture_faults(&[part])).collect(),
        codec: Some(part.codec.name()),
    };
    video(file, Container::Ps, vec![program], Framing::Program).map(Some)
}

/// What was read of a video stream.
struct Stream {
    codec: Option<PesCodec>,
    pictures: PictureCounter,
    packets: u64,
    clock: Clock,
    last: Option<i64>,
}

impl Stream {
    fn new() -> Self {
        Self {
            codec: None,
            pictures: PictureCounter::default(),
            packets: 0,
            clock: Clock::of_program_stream(),
            last: None,
        }
    }

    fn add(&mut self, header: PesHeader, packet: &[u8]) {
        self.packets += 1;
        let data = packet.get(header.length..).unwrap_or_default();
        self.codec = self.codec.or_else(|| PesCodec::sniff(data));
        let times = self.clock.place_packet(&header);
        self.pictures.set_times(times);
        self.pictures.add(self.codec, data);
        self.last = self.last.max(times.map(|times| times.shown));
    }
}

/// ISO/IEC 13818-1, 2.5.4: the stream types of elementary streams. `map` starts at its length.
fn read_stream_map(map: &[u8], declared: &mut BTreeMap<u8, u8>) {
    let length = |at: usize| {
        let bytes = map.get(at..at + 2)?;
        Some(usize::from(bytes[0]) << 8 | usize::from(bytes[1]))
    };
    let Some(info) = length(4) else { return };
    let mut at = 8 + info;
    while let Some((&[kind, stream], info)) =
        map.get(at..at + 2).and_then(<[u8]>::first_chunk::<2>).zip(length(at + 2))
    {
        if VIDEO.contains(&stream) {
            declared.insert(stream, kind);
        }
        at += 4 + info;
    }
}

/// Reads the packets of a program stream in large blocks.
pub(super) struct Packs {
    file: File,
    block: Vec<u8>,
    at: usize,
    is_last_block: bool,
    has_ended: bool,
    /// Places in which something other than a packet was skipped.
    gaps: u64,
    /// Bytes that the last packet lacks.
    missing: usize,
}

impl Packs {
    pub(super) fn new(mut file: File) -> io::Result<Self> {
        file.rewind()?;
        Ok(Self {
            file,
            block: Vec::new(),
            at: 0,
            is_last_block: false,
            has_ended: false,
            gaps: 0,
            missing: 0,
        })
    }

    /// The next packet of a stream.
    pub(super) fn next_of(&mut self, stream: u16) -> io::Result<Option<Vec<u8>>> {
        loop {
            match self.next()? {
                Some(packet) if packet.get(3).is_some_and(|own| u16::from(*own) == stream) => {
                    return Ok(Some(packet.to_vec()));
                }
                Some(_) => {}
                None => return Ok(None),
            }
        }
    }

    /// The next packet, from its start code on; the last one may be truncated.
    fn next(&mut self) -> io::Result<Option<&[u8]>> {
        loop {
            if self.at + LONGEST > self.block.len() && !self.is_last_block {
                self.read()?;
            }
            if !self.is_at_start_code(self.at) {
                if !self.skip()? {
                    return Ok(None);
                }
                continue;
            }
            let rest = &self.block[self.at..];
            self.has_ended = rest[3] == END;
            let length = match *rest {
                [_, _, _, END, ..] => 4,
                // The form of MPEG-2 has stuffing.
                [_, _, _, PACK, kind, _, _, _, _, _, _, _, _, stuffing, ..]
                    if kind & 0xc0 == 0x40 =>
                {
                    14 + usize::from(stuffing & 7)
                }
                [_, _, _, PACK, ..] => 12,
                [_, _, _, _, high, low, ..] => 6 + (usize::from(high) << 8 | usize::from(low)),
                _ => 6,
            };
            let from = self.at;
            let end = from + length;
            let is_packet = rest[3] > PACK;
            if is_packet && end + 4 <= self.block.len() && !self.is_at_start_code(end) {
                // Its length may be wrong: no header lies within it.
                self.at = (from + 6..end).find(|at| self.is_pack(*at)).unwrap_or(end);
                self.gaps += u64::from(self.at < end);
            } else {
                self.missing = length.saturating_sub(rest.len());
                self.at = end.min(self.block.len());
            }
            return Ok(Some(&self.block[from..self.at]));
        }
    }

    fn is_pack(&self, at: usize) -> bool {
        matches!(self.block.get(at..at + 4), Some([0, 0, 1, PACK]))
    }

    fn is_at_start_code(&self, at: usize) -> bool {
        matches!(self.block.get(at..at + 4), Some([0, 0, 1, code]) if *code >= END)
    }

    /// Skips to the next start code of a packet. False at the end of the file.
    fn skip(&mut self) -> io::Result<bool> {
        let mut skipped: u64 = 0;
        let mut are_zeros = true;
        loop {
            while self.at + 4 <= self.block.len() {
                if self.is_at_start_code(self.at) {
                    // An appended stream may follow padding.
                    let is_padding = are_zeros && (self.has_ended || skipped < HOLE);
                    self.gaps += u64::from(!is_padding);
                    return Ok(true);
                }
                are_zeros &= self.block[self.at] == 0;
                skipped += 1;
                self.at += 1;
            }
            if self.is_last_block {
                are_zeros &= self.block[self.at..].iter().all(|byte| *byte == 0);
                self.gaps += u64::from(!are_zeros);
                return Ok(false);
            }
            self.read()?;
        }
    }

    fn read(&mut self) -> io::Result<()> {
        self.block.drain(..self.at);
        self.at = 0;
        let missing = (BLOCK + LONGEST).saturating_sub(self.block.len());
        let read = (&mut self.file).take(missing as u64).read_to_end(&mut self.block)?;
        self.is_last_block = read < missing;
        Ok(())
    }
}

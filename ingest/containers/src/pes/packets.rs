//! Reads the PES packets of a video.

use std::collections::VecDeque;
use std::fs::File;
use std::io;

use super::clock::Clock;
use super::header::PesHeader;
use super::program_stream::Packs;
use super::ts_packets::{Continuity, Follows, TsPacket, TsPackets};
use super::{Framing, PesCodec, PesPart, nanoseconds};

/// The longest packet that is read in one piece. Longer ones come in several.
const LONGEST: usize = 8 << 20;
/// Where the first packet is decoded on the timeline, in units of 1/90,000 s: packets may be shown
/// earlier.
const START: i64 = 10 * 90_000;

/// The payload of a PES packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PesPacket {
    /// When the first frame that starts in it is shown, in nanoseconds. The times of a part do not
    /// wrap around, and a recording that is appended to another follows it.
    pub pts: Option<u64>,
    /// When it is decoded.
    pub dts: Option<u64>,
    /// A part of the elementary stream.
    pub data: Vec<u8>,
}

/// The PES packets of a part of a video, in the order of the file.
pub struct PesPackets {
    source: io::Result<Source>,
    part: PesPart,
    clock: Clock,
    /// Pieces of a packet that was read.
    pieces: VecDeque<PesPacket>,
    splitter: Splitter,
}

enum Source {
    Transport(Box<Assembler>),
    Program(Packs),
    End,
}

/// Puts PES packets together.
struct Assembler {
    packets: TsPackets,
    continuity: Continuity,
    /// The packet that is being read. Empty before the first one.
    packet: Vec<u8>,
}

impl PesPackets {
    pub(super) fn new(file: File, framing: Framing, part: PesPart) -> Self {
        let source = match framing {
            Framing::Transport { first, stride } => TsPackets::new(
                file,
                // Packets lie at a fixed distance from the first of a part.
                first.max(part.from),
                stride,
            )
            .map(|packets| {
                let continuity = Continuity::new();
                Source::Transport(Box::new(Assembler { packets, continuity, packet: Vec::new() }))
            }),
            Framing::Program => Packs::new(file).map(Source::Program),
        };
        Self {
            source,
            part,
            clock: Clock::default(),
            pieces: VecDeque::new(),
            splitter: Splitter::default(),
        }
    }

    fn read(&mut self) -> io::Result<Option<Vec<u8>>> {
        let source = match &mut self.source {
            Ok(source) => source,
            Err(_) => return std::mem::replace(&mut self.source, Ok(Source::End)).map(|_| None),
        };
        match source {
            Source::Transport(assembler) => assembler.next(self.part),
            Source::Program(packs) => packs.next_of(self.part.stream),
            Source::End => Ok(None),
        }
    }

    fn packet(&mut self, mut data: Vec<u8>) -> PesPacket {
        let Some(header) = PesHeader::parse(&data) else {
            return PesPacket { pts: None, dts: None, data };
        };
        data.drain(..header.length.min(data.len()));
        let times = self.clock.place_packet(&header);
        let time = |ticks: i64| nanoseconds(START.saturating_add(ticks));
        PesPacket {
            pts: times.and_then(|times| time(times.shown)),
            dts: times.and_then(|times| time(times.decoded)),
            data,
        }
    }
}

impl Iterator for PesPackets {
    type Item = io::Result<PesPacket>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(piece) = self.pieces.pop_front() {
                return Some(Ok(piece));
            }
            let packet = match self.read() {
                Ok(Some(data)) => self.packet(data),
                Ok(None) => return None,
                Err(error) => {
                    self.source = Ok(Source::End);
                    return Some(Err(error));
                }
            };
            if !matches!(self.source, Ok(Source::Program(_))) {
                return Some(Ok(packet));
            }
            self.pieces = self.splitter.split(self.part.codec, packet);
        }
    }
}

impl Assembler {
    fn next(&mut self, part: PesPart) -> io::Result<Option<Vec<u8>>> {
        while let Some((place, packet)) = self.packets.next()? {
            if place >= part.to {
                break;
            }
            let packet = TsPacket(packet);
            if packet.pid() != part.stream {
                continue;
            }
            if self.continuity.follow(packet) == Follows::Repeated || packet.is_scrambled() {
                continue;
            }
            let Some(payload) = packet.payload() else { continue };
            let is_complete = packet.is_start() || self.packet.len() >= LONGEST;
            let complete = is_complete.then(|| std::mem::take(&mut self.packet));
            self.packet.extend_from_slice(payload);
            if let Some(complete) = complete.filter(|complete| !complete.is_empty()) {
                return Ok(Some(complete));
            }
        }
        let last = std::mem::take(&mut self.packet);
        Ok((!last.is_empty()).then_some(last))
    }
}

/// Splits the packets of program streams, which may start anywhere in a frame, at the starts of
/// frames: a packet's time is that of the first frame that starts in it.
#[derive(Default)]
struct Splitter {
    /// Whether the last start code was that of a header which belongs to the frame after it.
    is_in_header: bool,
}

impl Splitter {
    fn split(&mut self, codec: PesCodec, packet: PesPacket) -> VecDeque<PesPacket> {
        let PesPacket { mut pts, mut dts, data } = packet;
        let starts: Vec<usize> = data
            .windows(4)
            .enumerate()
            .filter(|(_, window)| window.starts_with(&[0, 0, 1]))
            .filter_map(|(at, window)| self.starts_frame(codec, window[3]).then_some(at))
            .collect();
        if starts.is_empty() && matches!(codec, PesCodec::H264 | PesCodec::Hevc) {
            // Without delimiters, the parser finds the frames.
            return VecDeque::from([PesPacket { pts, dts, data }]);
        }
        let first = starts.first().copied().unwrap_or(usize::MAX);
        let ends = starts.iter().copied().chain([data.len()]);
        let begins = [0].into_iter().chain(starts.iter().copied());
        let pieces = begins.zip(ends).filter(|(begin, end)| begin < end);
        pieces
            .map(|(begin, end)| {
                let has_start = begin >= first;
                let pts = if has_start { pts.take() } else { None };
                let dts = if has_start { dts.take() } else { None };
                PesPacket { pts, dts, data: data[begin..end].to_vec() }
            })
            .collect()
    }

    /// Whether a start code is the first of a frame.
    fn starts_frame(&mut self, codec: PesCodec, code: u8) -> bool {
        let (is_header, is_picture) = match codec {
            PesCodec::Mpeg2 => (matches!(code, 0xb3 | 0xb8), code == 0),
            PesCodec::Mpeg4 => (matches!(code, 0xb0 | 0xb3), code == 0xb6),
            PesCodec::H264 => (false, code & 0x1f == 9),
            PesCodec::Hevc => (false, code >> 1 & 0x3f == 35),
        };
        let is_first = (is_header || is_picture) && !self.is_in_header;
        self.is_in_header = (self.is_in_header || is_header) && !is_picture;
        is_first
    }
}

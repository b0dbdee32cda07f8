//! Reads the PES packets of a video.

use std::collections::VecDeque;
use std::fs::File;
use std::io;

use super::clock::Clock;
use super::header::PesHeader;
use super::program_stream::Packs;
use super::ts_packets::{Continuity, Follows, TsPacket, TsPackets};
use super::{Framing, PesCodec, PesPart, nanoseconds, start_codes};

/// The longest packet that is read in one piece. Longer ones come in several.
const LONGEST: usize = 8 << 20;
/// Where the first packet is decoded on the timeline, in units of 1/90,000 s: packets may be shown
/// earlier.
const START: i64 = 10 * 90_000;
/// How long a frame whose time is unknown is shown.
const FRAME: i64 = 90_000 / 25;

/// How much is read in search of the first parameters.
const AHEAD: usize = 16 << 20;
/// Separates parameters from what follows them: an access unit delimiter.
const DELIMITER: [u8; 7] = [0, 0, 0, 1, 0x46, 0x01, 0x50];

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
    has_times: bool,
    /// Packets that were read before they were asked for.
    ahead: VecDeque<PesPacket>,
    needs_parameters: bool,
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
        // Players show what precedes the first key frame of these as well as they can. Of the other
        // codecs, they do not.
        let needs_parameters = matches!(part.codec, PesCodec::Hevc | PesCodec::Mpeg4)
            && part.packets != part.decodable;
        let clock = match framing {
            Framing::Transport { .. } => Clock::of_transport_stream(),
            Framing::Program => Clock::of_program_stream(),
        };
        Self { source, part, clock, has_times: false, ahead: VecDeque::new(), needs_parameters }
    }

    /// Puts the first parameters of HEVC or MPEG-4 before the first packet. Without them, parsers drop it.
    fn advance_parameters(&mut self) -> io::Result<()> {
        let mut read: usize = 0;
        while let Some(data) = self.read()? {
            read = read.saturating_add(data.len());
            let packet = self.packet(data);
            let is_mpeg4 = self.part.codec == PesCodec::Mpeg4;
            let parameters = if is_mpeg4 {
                mpeg4_parameters(&packet.data)
            } else {
                let mut sets = parameters(&packet.data);
                let has_sets = !sets.is_empty();
                sets.extend(DELIMITER.into_iter().filter(|_| has_sets));
                sets
            };
            self.ahead.push_back(packet);
            if !parameters.is_empty() {
                if self.ahead.len() > 1
                    && let Some(first) = self.ahead.front_mut()
                {
                    first.data.splice(..0, parameters);
                }
                break;
            }
            if read > AHEAD {
                break;
            }
        }
        Ok(())
    }

    /// Reads until there is a packet behind the next one.
    fn read_ahead(&mut self) -> io::Result<()> {
        while self.ahead.len() < 2
            && let Some(data) = self.read()?
        {
            let packet = self.packet(data);
            self.ahead.push_back(packet);
        }
        Ok(())
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
            // A frame whose beginning is missing is shown before the others.
            let first = START.saturating_add(self.part.shown_from);
            let time = if self.has_times { None } else { nanoseconds(first - FRAME) };
            return PesPacket { pts: time, dts: time, data };
        };
        data.drain(..header.length.min(data.len()));
        let times = self.clock.place_packet(&header);
        self.has_times |= times.is_some();
        let time = |ticks: i64| nanoseconds(START.saturating_add(ticks));
        PesPacket {
            pts: times.and_then(|times| time(times.shown)),
            dts: times.and_then(|times| time(times.decoded)),
            data,
        }
    }
}

/// The headers of MPEG-4 before the first picture or group of a packet, if a layer's is among them
/// (ISO/IEC 14496-2, 6.2.2).
fn mpeg4_parameters(data: &[u8]) -> Vec<u8> {
    let mut codes = start_codes(data).map(|unit| (data.len() - unit.len() - 3, unit[0]));
    let mut has_layer = false;
    let mut from = None;
    let end = codes.find_map(|(at, code)| {
        from.get_or_insert(at);
        has_layer |= (0x20..=0x2f).contains(&code);
        matches!(code, 0xb3 | 0xb6).then_some(at)
    });
    let headers = from.zip(end).and_then(|(from, end)| data.get(from..end));
    headers.filter(|_| has_layer).map(<[u8]>::to_vec).unwrap_or_default()
}

/// The parameter sets of HEVC in a packet, with their start codes.
fn parameters(data: &[u8]) -> Vec<u8> {
    let sets = start_codes(data)
        .filter(|unit| unit.first().is_some_and(|head| matches!(head >> 1 & 0x3f, 32..=34)));
    sets.flat_map(|unit| {
        let end = unit.windows(3).position(|next| next == [0, 0, 1]).unwrap_or(unit.len());
        [0, 0, 1].into_iter().chain(unit[..end].iter().copied())
    })
    .collect()
}

impl Iterator for PesPackets {
    type Item = io::Result<PesPacket>;

    fn next(&mut self) -> Option<Self::Item> {
        let advanced = if std::mem::take(&mut self.needs_parameters) {
            self.advance_parameters()
        } else {
            Ok(())
        };
        let ready = advanced.and_then(|()| self.read_ahead());
        if let Err(error) = ready {
            self.source = Ok(Source::End);
            self.ahead.clear();
            return Some(Err(error));
        }
        let mut packet = self.ahead.pop_front()?;
        // Zeros before a start code belong to what follows. Otherwise parsers give the time of this
        // packet to the next frame.
        if self.ahead.front().is_some_and(|next| next.data.starts_with(&[0, 0, 1])) {
            let end = packet.data.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
            packet.data.truncate(end);
        }
        Some(Ok(packet))
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

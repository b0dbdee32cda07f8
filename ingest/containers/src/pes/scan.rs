//! Reads a transport stream once, to find its video and the packets that it lacks.

use std::collections::HashMap;
use std::fs::File;
use std::io;

use super::clock::{Clock, Continues};
use super::header::{PesHeader, VIDEO};
use super::sections::{Sections, Table, VideoStream};
use super::stretch::Stretch;
use super::ts_packets::{Continuity, Follows, TsPacket, TsPackets};
use super::{Framing, PesPart, PesProgram, PesVideo, picture_faults, video};
use crate::contents::{Container, Fault};

/// Packets are encrypted if there is at least one for this many pictures.
const DAMAGED_MARKS: u64 = 10;
/// The program association table's packets.
const PROGRAMS: u16 = 0;
const NULL: u16 = 0x1fff;
/// More programs, and more changes of one, are not followed.
const MOST_PROGRAMS: usize = 256;
const MOST_STRETCHES: usize = 64;

/// What the file holds; `None` if it has no video that can be read here.
pub(super) fn scan(file: &File, first: u64, stride: usize) -> io::Result<Option<PesVideo>> {
    let mut packets = TsPackets::new(file.try_clone()?, first, stride)?;
    let mut scan = Scan::default();
    while let Some((place, packet)) = packets.next()? {
        scan.read(place, TsPacket(packet));
    }
    let programs = scan.finish(packets.is_truncated());
    if programs.is_empty() {
        return Ok(None);
    }
    video(file, Container::Ts, programs, Framing::Transport { first, stride }).map(Some)
}

#[derive(Default)]
struct Scan {
    streams: HashMap<u16, Stream>,
    /// In the order of the first program association table that names them.
    programs: Vec<Program>,
    /// Where streams begin within a packet of theirs, as recordings do.
    beginnings: HashMap<u16, u64>,
    /// Encrypted packets of streams that are not recognised for that reason.
    scrambled: HashMap<u16, u64>,
    /// Where the last program association table was, and its counter.
    last_table: Option<(u64, u8)>,
}

/// The packets with one identifier.
struct Stream {
    continuity: Continuity,
    last_place: u64,
    gaps: u64,
    scrambled: u64,
    content: Content,
}

#[expect(clippy::large_enum_variant, reason = "a file has few streams")]
enum Content {
    Tables(Sections),
    Video {
        clock: Clock,
        /// What was read since it is in a program, or before.
        stretch: Stretch,
    },
}

/// A video of a program. Those of the same program follow each other.
struct Program {
    number: u16,
    tables: u16,
    video: Option<VideoStream>,
    /// What was read of its video. The last one is still being read, in its stream.
    stretches: Vec<Stretch>,
}

impl Scan {
    fn read(&mut self, place: u64, packet: TsPacket<'_>) {
        let pid = packet.pid();
        if pid == NULL {
            return;
        }
        let payload = packet.payload();
        if packet.is_start() {
            self.classify(pid, place, payload.unwrap_or_default());
        }
        let Some(stream) = self.streams.get_mut(&pid) else {
            if packet.is_scrambled() {
                *self.scrambled.entry(pid).or_default() += 1;
            }
            // What starts as something else does not begin a video.
            let beginning = if packet.is_start() { u64::MAX } else { place };
            let known = self.beginnings.entry(pid).or_insert(beginning);
            *known = (*known).max(if packet.is_start() { u64::MAX } else { 0 });
            return;
        };
        let follows = stream.continuity.follow(packet);
        let Some(payload) = payload.filter(|_| follows != Follows::Repeated) else { return };
        let before = std::mem::replace(&mut stream.last_place, place);
        let has_restarted = self.last_table.is_some_and(|(at, _)| at > before);
        match &mut stream.content {
            Content::Tables(sections) => {
                // A recording that is appended starts to count anew.
                let is_gap = follows == Follows::Gap && packet.counter() != 0;
                stream.gaps += u64::from(is_gap || packet.is_damaged());
                let table = sections.push(payload, packet.is_start());
                if pid == PROGRAMS {
                    self.last_table = Some((place, packet.counter()));
                }
                match table {
                    Some(Table::Programs(numbers)) => self.name_programs(&numbers, place),
                    Some(Table::Streams { program, videos }) => {
                        self.name_streams(program, pid, &videos, place);
                    }
                    None => {}
                }
            }
            Content::Video { .. } if packet.is_scrambled() => stream.scrambled += 1,
            Content::Video { clock, stretch } => {
                let header = packet.is_start().then(|| PesHeader::parse(payload)).flatten();
                let decoded = header.and_then(|header| header.decoded());
                let counts_anew = packet.counter() == 0
                    && self.last_table.is_some_and(|(_, counter)| counter == 0);
                let is_new_recording = match decoded.map(|time| clock.continues(time)) {
                    Some(Continues::Back) => true,
                    Some(Continues::Ahead) => has_restarted,
                    Some(Continues::Steadily) => has_restarted && counts_anew,
                    None => false,
                };
                let is_gap = follows == Follows::Gap && !is_new_recording;
                stream.gaps += u64::from(is_gap || packet.is_damaged());
                let data = payload.get(header.map_or(0, |header| header.length)..);
                let data = data.unwrap_or_default();
                if let Some(header) = header {
                    stretch.add(header, data, clock, place);
                }
                stretch.count(data);
            }
        }
    }

    /// Recognises tables and video by the start of their data.
    fn classify(&mut self, pid: u16, place: u64, payload: &[u8]) {
        let is_video = matches!(payload, [0, 0, 1, stream, ..] if VIDEO.contains(stream));
        let has_tables = || match payload {
            [pointer, rest @ ..] => match rest.get(usize::from(*pointer)) {
                Some(0) => pid == PROGRAMS,
                Some(2) => !payload.starts_with(&[0, 0, 1]),
                _ => false,
            },
            [] => false,
        };
        match self.streams.get(&pid).map(|stream| &stream.content) {
            Some(Content::Video { .. }) => return,
            Some(Content::Tables(_)) if !is_video => return,
            _ if is_video || has_tables() => {}
            _ => return,
        }
        let content = if is_video {
            let from = self.beginnings.get(&pid).map_or(place, |from| place.min(*from));
            let stretch = Stretch::new(pid, None, from);
            Content::Video { clock: Clock::of_transport_stream(), stretch }
        } else {
            Content::Tables(Sections::default())
        };
        let stream = Stream {
            continuity: Continuity::new(),
            last_place: place,
            gaps: 0,
            scrambled: 0,
            content,
        };
        self.streams.insert(pid, stream);
        self.continue_programs(pid);
    }

    /// A stream that a program has named before its first packet starts with that codec.
    fn continue_programs(&mut self, pid: u16) {
        let mut videos = self.programs.iter().filter_map(|program| program.video);
        let Some(video) = videos.rfind(|video| video.pid == pid) else { return };
        if let Some(Stream { content: Content::Video { stretch, .. }, .. }) =
            self.streams.get_mut(&pid)
        {
            stretch.codec = Some(video.codec);
        }
    }

    fn name_programs(&mut self, numbers: &[u16], place: u64) {
        if numbers.is_empty() {
            return;
        }
        for number in numbers {
            self.program(*number, 0);
        }
        let ended: Vec<usize> = (0..self.programs.len())
            .filter(|index| !numbers.contains(&self.programs[*index].number))
            .collect();
        for index in ended {
            self.change_video(index, None, place);
        }
    }

    /// The index of a video of a program; `None` if there are too many.
    fn program(&mut self, number: u16, video: usize) -> Option<usize> {
        let is_own = |program: &Program| program.number == number;
        let first = self.programs.iter().position(is_own).unwrap_or(self.programs.len());
        let index = first + video;
        if self.programs.get(index).is_some_and(is_own) {
            return Some(index);
        }
        if self.programs.len() >= MOST_PROGRAMS {
            return None;
        }
        let program = Program { number, tables: 0, video: None, stretches: Vec::new() };
        self.programs.insert(index, program);
        Some(index)
    }

    fn name_streams(&mut self, number: u16, tables: u16, videos: &[VideoStream], place: u64) {
        let known = self.programs.iter().filter(|program| program.number == number).count();
        for video in 0..known.max(videos.len()).max(1) {
            let Some(index) = self.program(number, video) else { return };
            self.programs[index].tables = tables;
            self.change_video(index, videos.get(video).copied(), place);
        }
    }

    /// A program has another video from here on.
    fn change_video(&mut self, index: usize, video: Option<VideoStream>, place: u64) {
        let program = &mut self.programs[index];
        if program.stretches.len() >= MOST_STRETCHES {
            return;
        }
        let before = std::mem::replace(&mut program.video, video);
        if before == video {
            return;
        }
        let stretch_of = |stream: &mut Stream, codec| match &mut stream.content {
            Content::Video { stretch, .. } => {
                let pid = stretch.pid;
                Some(std::mem::replace(stretch, Stretch::new(pid, codec, place)))
            }
            Content::Tables(_) => None,
        };
        if let Some(before) = before {
            let ended =
                self.streams.get_mut(&before.pid).and_then(|stream| stretch_of(stream, None));
            program.stretches.extend(ended.map(|stretch| stretch.until(place)));
        }
        let Some(video) = video else { return };
        let Some(Stream { content: Content::Video { stretch, .. }, .. }) =
            self.streams.get_mut(&video.pid)
        else {
            return;
        };
        // What came before the first table belongs to the program too.
        let is_first = stretch.codec.is_none_or(|codec| codec == video.codec);
        if is_first {
            stretch.codec = Some(video.codec);
        } else {
            *stretch = Stretch::new(video.pid, Some(video.codec), place);
        }
    }

    /// The programs that have video. One that begins after another one has ended continues it.
    fn finish(mut self, is_truncated: bool) -> Vec<PesProgram> {
        self.end_stretches();
        let mut chosen: Vec<Vec<Stretch>> = Vec::new();
        for Program { stretches, .. } in &self.programs {
            let overlaps = |own: &[Stretch]| {
                stretches
                    .iter()
                    .any(|other| own.iter().any(|own| other.from < own.to && own.from < other.to))
            };
            match chosen.iter_mut().find(|own| !overlaps(own)) {
                Some(own) => own.extend(stretches.iter().cloned()),
                None => chosen.push(stretches.clone()),
            }
        }
        chosen.retain(|stretches| !stretches.is_empty());
        let end = is_truncated.then_some(Fault::EndsInPacket);
        let programs = chosen.into_iter().filter_map(|mut stretches| {
            stretches.sort_by_key(|stretch| stretch.from);
            let parts: Vec<PesPart> = stretches.iter().flat_map(Stretch::parts).collect();
            let mut faults = self.faults(&stretches);
            faults.extend(picture_faults(&parts));
            faults.extend(end.clone());
            let codec = parts.first()?.codec.name();
            Some(PesProgram { parts, faults, codec: Some(codec) })
        });
        let programs: Vec<PesProgram> = programs.collect();
        if programs.is_empty() { self.encrypted().into_iter().collect() } else { programs }
    }

    /// What is known of a file without any video that is not encrypted.
    fn encrypted(&self) -> Option<PesProgram> {
        let videos = self.programs.iter().filter_map(|program| program.video);
        let packets = videos
            .map(|VideoStream { pid, .. }| {
                let stream = self.streams.get(&pid).map_or(0, |stream| stream.scrambled);
                stream + self.scrambled.get(&pid).copied().unwrap_or_default()
            })
            .sum();
        let faults = vec![Fault::EncryptedPackets { packets }];
        (packets > 0).then_some(PesProgram { faults, ..PesProgram::default() })
    }

    /// Moves what was read last to the programs. Streams that no program names are programs of
    /// their own, if there is no other video.
    fn end_stretches(&mut self) {
        let mut unnamed = Vec::new();
        let named: Vec<Option<u16>> =
            self.programs.iter().map(|program| program.video.map(|video| video.pid)).collect();
        for stream in self.streams.values() {
            let Content::Video { stretch, .. } = &stream.content else { continue };
            let stretch = stretch.clone();
            match named.iter().position(|pid| *pid == Some(stretch.pid)) {
                Some(index) => self.programs[index].stretches.push(stretch),
                None => unnamed.push(stretch),
            }
        }
        for program in &mut self.programs {
            program.stretches.retain(|stretch| stretch.packets > 0);
        }
        if self.programs.iter().all(|program| program.stretches.is_empty()) {
            unnamed.sort_by_key(|stretch| stretch.pid);
            unnamed.retain(|stretch| stretch.packets > 0 && stretch.codec.is_some());
            self.programs.extend(unnamed.into_iter().map(|stretch| Program {
                number: 0,
                tables: PROGRAMS,
                video: None,
                stretches: vec![stretch],
            }));
        }
    }

    fn faults(&self, chosen: &[Stretch]) -> Vec<Fault> {
        let mut pids: Vec<u16> = vec![PROGRAMS];
        for stretch in chosen {
            let programs = self.programs.iter();
            let own = programs
                .filter(|program| program.stretches.iter().any(|own| own.pid == stretch.pid));
            pids.extend(own.map(|program| program.tables));
            pids.push(stretch.pid);
        }
        pids.sort_unstable();
        pids.dedup();
        let streams = || pids.iter().filter_map(|pid| self.streams.get(pid));
        let scrambled: u64 = streams().map(|stream| stream.scrambled).sum();
        let pictures: u64 = chosen.iter().map(|stretch| stretch.packets).sum();
        // Single bits that were damaged mark packets as encrypted, too.
        let is_damage = scrambled.saturating_mul(DAMAGED_MARKS) < pictures;
        let packets = if is_damage { 0 } else { scrambled };
        let gaps = streams().map(|stream| stream.gaps).sum::<u64>() + (scrambled - packets);
        let unread = chosen.iter().find_map(|stretch| stretch.codec?.err());
        [
            (packets > 0).then_some(Fault::EncryptedPackets { packets }),
            unread.map(|codec| Fault::NotRead { codec: codec.to_owned() }),
            (gaps > 0).then_some(Fault::PacketsLost { gaps }),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

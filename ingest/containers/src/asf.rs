//! ASF (Windows Media): its video streams and their frames, when its timeline starts, and whether
//! its end is missing (Microsoft, "Advanced Systems Format Specification", 2, 3.2, 3.3, 4 and 5.2).

use std::fs::File;
use std::io;

use crate::asf_objects::{self, Objects};
use crate::contents::{Container, Contents, Fault, VideoTrack};
use crate::four_characters::{Chunks, codec};
use crate::reader::Reader;

const HEADER: [u8; 16] = *b"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9\x00\xaa\x00\x62\xce\x6c";
const DATA: [u8; 16] = *b"\x36\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9\x00\xaa\x00\x62\xce\x6c";
const FILE: [u8; 16] = *b"\xa1\xdc\xab\x8c\x47\xa9\xcf\x11\x8e\xe4\x00\xc0\x0c\x20\x53\x65";
const STREAM: [u8; 16] = *b"\x91\x07\xdc\xb7\xb7\xa9\xcf\x11\x8e\xe6\x00\xc0\x0c\x20\x53\x65";
const VIDEO: [u8; 16] = *b"\xc0\xef\x19\xbc\x4d\x5b\xcf\x11\xa8\xfd\x00\x80\x5f\x5c\x44\x2b";
/// Bytes of the data object before its first packet.
const DATA_HEADER: u64 = 50;
/// Bytes of the header object before the objects in it.
const HEADER_START: u64 = 30;
/// Bytes of an object before its content.
const OBJECT: u64 = 24;
/// Bytes of a file's and of a stream's properties, up to the last that is read here.
const FILE_PROPERTIES: usize = 76;
const STREAM_PROPERTIES: usize = 85;
/// More than a header has.
const MOST_OBJECTS: usize = 1000;
/// As many as seven bits can number.
const MOST_STREAMS: usize = 127;
/// The longest packet that is read.
const LONGEST: u32 = 1 << 20;

pub(crate) fn is_one(start: &[u8]) -> bool {
    start.starts_with(&HEADER)
}

pub(crate) fn inspect(file: &mut File) -> io::Result<Contents> {
    let reader = Reader::new(file)?;
    let mut walk = Walk { reader, packet_size: None, streams: Vec::new() };
    let length = walk.reader.length();
    let mut faults = Vec::new();
    let mut start = None;
    let mut are_counted = false;
    // The header and the data follow each other.
    for _ in 0..2 {
        let from = walk.reader.position();
        let Some((name, size)) = walk.object()? else { break };
        let end = from.saturating_add(size);
        if name != DATA {
            walk.header(from + HEADER_START, end)?;
            walk.reader.go_to(end)?;
            continue;
        }
        // A recording that was not finished has no length.
        if size > DATA_HEADER && end > length {
            faults.push(Fault::Truncated { missing: end - length });
        }
        let data_end = if size > DATA_HEADER { end.min(length) } else { length };
        let packets = walk.packets(from + DATA_HEADER, data_end)?;
        start = packets.start;
        are_counted = packets.are_counted;
        let objects = walk.streams.first().map(|stream| &stream.objects);
        let pictures = objects.map_or(0, |objects| objects.missing);
        faults.extend((pictures > 0).then_some(Fault::PicturesMissing { pictures }));
        faults.extend((packets.gaps > 0).then_some(Fault::PacketsLost { gaps: packets.gaps }));
        break;
    }
    let start = start.map(|time: u32| u64::from(time) * 1_000_000);
    let mut tracks: Vec<_> =
        (1..).zip(&walk.streams).map(|(n, stream)| stream.track(n, start, are_counted)).collect();
    if tracks.is_empty() {
        tracks.push(Stream::default().track(1, start, false));
    }
    Ok(Contents { container: Container::Asf, tracks, faults, parts: Vec::new(), length })
}

struct Walk<'a> {
    reader: Reader<'a>,
    /// All packets have the same.
    packet_size: Option<u32>,
    /// Those with video.
    streams: Vec<Stream>,
}

#[derive(Default)]
struct Stream {
    number: u8,
    compression: [u8; 4],
    objects: Objects,
}

/// What was read of the data.
struct Packets {
    /// When the first one is sent, in milliseconds of the timeline.
    start: Option<u32>,
    are_counted: bool,
    /// How many are broken.
    gaps: u64,
}

impl Walk<'_> {
    /// The name and the size of the next object.
    fn object(&mut self) -> io::Result<Option<([u8; 16], u64)>> {
        let (mut name, mut size) = ([0; 16], [0; 8]);
        let is_there =
            self.reader.fill(&mut name)? == name.len() && self.reader.fill(&mut size)? == 8;
        Ok(is_there.then(|| (name, u64::from_le_bytes(size))))
    }

    /// Reads the objects of the header.
    fn header(&mut self, start: u64, end: u64) -> io::Result<()> {
        self.reader.go_to(start)?;
        for _ in 0..MOST_OBJECTS {
            let from = self.reader.position();
            if from >= end {
                break;
            }
            let Some((name, size)) = self.object()? else { break };
            match name {
                FILE => {
                    let mut file = [0; FILE_PROPERTIES];
                    if self.reader.fill(&mut file)? == file.len() {
                        let [.., a, b, c, d] = file;
                        self.packet_size = Some(u32::from_le_bytes([a, b, c, d]));
                    }
                }
                STREAM => {
                    let mut stream = [0; STREAM_PROPERTIES];
                    if self.reader.fill(&mut stream)? == stream.len() && stream.starts_with(&VIDEO)
                    {
                        self.stream(&stream);
                    }
                }
                _ => {}
            }
            self.reader.go_to(from.saturating_add(size.max(OBJECT)))?;
        }
        Ok(())
    }

    /// Adds a stream with video, whose format is a bitmap's.
    fn stream(&mut self, properties: &[u8; STREAM_PROPERTIES]) {
        let number = properties[48] & 0x7f;
        let [.., a, b, c, d] = *properties;
        let is_known = self.streams.iter().any(|stream| stream.number == number);
        if !is_known && self.streams.len() < MOST_STREAMS {
            let compression = [a, b, c, d];
            self.streams.push(Stream { number, compression, ..Stream::default() });
        }
    }

    /// Reads the packets.
    fn packets(&mut self, start: u64, end: u64) -> io::Result<Packets> {
        let size = self.packet_size.filter(|size| (1..=LONGEST).contains(size));
        let mut packet = vec![0; usize::try_from(size.unwrap_or(64)).unwrap_or(0)];
        let mut packets = Packets { start: None, are_counted: size.is_some(), gaps: 0 };
        let mut objects: Vec<_> =
            self.streams.iter().map(|stream| (stream.number, Objects::default())).collect();
        self.reader.go_to(start)?;
        let mut is_first = true;
        while self.reader.position() < end {
            let filled = self.reader.fill(&mut packet)?;
            if std::mem::take(&mut is_first) {
                packets.start = send_time(&packet[..filled]);
            }
            if size.is_none() || filled < packet.len() {
                break;
            }
            let is_broken = asf_objects::read(&packet, &mut objects).is_none();
            packets.gaps += u64::from(is_broken);
        }
        for (stream, (_, objects)) in self.streams.iter_mut().zip(objects) {
            stream.objects = objects;
        }
        Ok(packets)
    }
}

impl Stream {
    fn track(&self, number: u32, start: Option<u64>, is_counted: bool) -> VideoTrack {
        let Objects { count, repeats, missing, .. } = self.objects;
        let frames = count + missing;
        let (codec, chunks) = codec(self.compression);
        let maybe_hidden = match chunks {
            Chunks::Frames => 0,
            Chunks::Mpeg4 => repeats,
            Chunks::AtMostFrames => frames,
        };
        VideoTrack {
            number,
            codec,
            is_default: number == 1,
            frames: is_counted.then_some(frames),
            maybe_hidden,
            is_packed: false,
            start,
        }
    }
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

    /// An object that claims this many bytes more than it has.
    fn object(name: [u8; 16], content: &[u8], missing: u64) -> Vec<u8> {
        let size = OBJECT + content.len() as u64 + missing;
        [&name[..], &size.to_le_bytes(), content].concat()
    }

    /// A packet that holds an object with this number.
    fn packet(number: u8) -> [u8; 24] {
        let mut packet = [0; 24];
        packet[..12].copy_from_slice(&[0x82, 0, 0, 0x08, 0x5d, 0, 0x10, 0x27, 0, 0, 0, 0]);
        packet[12..22].copy_from_slice(&[0x81, number, 0, 0, 0, 0, 0, 9, 9, 9]);
        packet
    }

    fn film(numbers: &[u8], missing: u64) -> Vec<u8> {
        let mut file = [0; 80];
        file[72] = 24;
        let mut stream = vec![0; 94];
        stream[..16].copy_from_slice(&VIDEO);
        stream[48] = 1;
        stream[81..85].copy_from_slice(b"WMV2");
        let header = [vec![0; 6], object(FILE, &file, 0), object(STREAM, &stream, 0)].concat();
        let packets = numbers.iter().flat_map(|number| packet(*number));
        let data: Vec<u8> = [0; 26].into_iter().chain(packets).collect();
        [object(HEADER, &header, 0), object(DATA, &data, missing)].concat()
    }

    fn contents(bytes: &[u8]) -> Contents {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        inspect(&mut file).unwrap()
    }

    #[test]
    fn the_first_packet_says_when_the_timeline_starts() {
        let film = film(&[1], 0);
        assert!(is_one(&film));
        let whole = contents(&film);
        assert_eq!((whole.tracks[0].start, whole.faults), (Some(10_000_000_000), vec![]));
    }

    #[test]
    fn objects_are_frames_and_their_numbers_show_which_are_missing() {
        let whole = contents(&film(&[254, 255, 0, 1], 0));
        assert_eq!((whole.tracks[0].frames, whole.tracks[0].codec), (Some(4), Some("WMV")));
        assert_eq!(whole.faults, []);
        let lost = contents(&film(&[254, 2, 3], 0));
        assert_eq!(lost.tracks[0].frames, Some(6));
        assert_eq!(lost.faults, [Fault::PicturesMissing { pictures: 3 }]);
        let mut zeroed = film(&[1, 2, 3], 0);
        let end = zeroed.len();
        zeroed[end - 48..end - 24].fill(0);
        let expected = [Fault::PicturesMissing { pictures: 1 }, Fault::PacketsLost { gaps: 1 }];
        assert_eq!(contents(&zeroed).faults, expected);
    }

    #[test]
    fn a_file_without_its_end_is_truncated() {
        assert_eq!(contents(&film(&[1], 7)).faults, [Fault::Truncated { missing: 7 }]);
    }

    #[test]
    fn no_change_of_a_file_makes_it_panic() {
        let film = film(&[1, 2], 0);
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

//! Containers made of packetized elementary streams (ISO/IEC 13818-1): transport streams and
//! program streams.
//!
//! [`PesVideo::open`] reads such a file once, finds its video and what is wrong with it, and
//! [`PesVideo::packets`] reads the packets of that video. Nothing is dropped because of an error in
//! the container: the decoder gets whatever is there.

mod bits;
mod clock;
mod gaps;
mod header;
mod mpeg2;
mod numbers;
mod packets;
mod picture_counter;
mod pictures;
mod program_stream;
mod scan;
mod sections;
mod stretch;
mod ts_packets;
mod zeros;

use std::fs::File;
use std::io;

pub use packets::{PesPacket, PesPackets};
pub use pictures::PictureCount;

use crate::contents::{Container, Contents, Fault, VideoTrack};

/// A video codec that packets of elementary streams carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PesCodec {
    /// MPEG-1 and MPEG-2 video.
    Mpeg2,
    /// MPEG-4 part 2.
    Mpeg4,
    /// H.264.
    H264,
    /// H.265.
    Hevc,
}

/// The video of a file that consists of PES packets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PesVideo {
    /// Its container, with the faults of the first program that has video.
    pub contents: Contents,
    /// The programs that have video, one for each track of `contents`. There is at least one.
    pub programs: Vec<PesProgram>,
    framing: Framing,
}

/// The video of a program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PesProgram {
    /// Its stretches in one codec, in order. None if all of it is encrypted.
    pub parts: Vec<PesPart>,
    /// What is wrong with it.
    pub faults: Vec<Fault>,
    /// Its codec as people know it.
    codec: Option<&'static str>,
}

/// A stretch of a video in one codec.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PesPart {
    /// The codec.
    pub codec: PesCodec,
    /// How many PES packets it has. Each holds a frame, or a field, or in program streams any
    /// piece of the stream.
    pub packets: u64,
    /// How many of them a decoder can use: those from the first key frame on, without the ones that
    /// are shown before it. 0 in program streams.
    pub decodable: u64,
    /// How many pictures these packets hold.
    pub pictures: PictureCount,
    /// How long it is shown, in nanoseconds, up to its last frame.
    pub duration: Option<u64>,
    /// When its first frame is shown, on the clock of its packets.
    shown_from: i64,
    /// The stream: a packet identifier or a stream identifier.
    stream: u16,
    from: u64,
    to: u64,
}

/// How packets lie in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    /// A packet every `stride` bytes, the first sync byte at `first`.
    Transport {
        first: u64,
        stride: usize,
    },
    Program,
}

impl PesVideo {
    /// Reads a file; `None` if it is neither a transport stream nor a program stream, or if it has
    /// no video in a codec of [`PesCodec`].
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub fn open(file: &mut File) -> io::Result<Option<Self>> {
        if program_stream::is_one(file)? {
            return program_stream::scan(file);
        }
        match ts_packets::find(file)? {
            Some((first, stride)) => scan::scan(file, first, stride),
            None if program_stream::is_rest_of_one(file)? => program_stream::scan(file),
            None => Ok(None),
        }
    }

    /// The packets of a part.
    pub fn packets(&self, file: File, part: &PesPart) -> PesPackets {
        PesPackets::new(file, self.framing, *part)
    }
}

impl PesCodec {
    /// Its name as people know it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mpeg2 => "MPEG-2",
            Self::Mpeg4 => "MPEG-4",
            Self::H264 => "H.264",
            Self::Hevc => "HEVC",
        }
    }

    /// ISO/IEC 13818-1, table 2-34.
    fn from_stream_type(stream_type: u8) -> Option<Self> {
        match stream_type {
            0x01 | 0x02 => Some(Self::Mpeg2),
            0x10 => Some(Self::Mpeg4),
            0x1b => Some(Self::H264),
            0x24 => Some(Self::Hevc),
            _ => None,
        }
    }

    /// The codec of a stream that starts with these bytes.
    fn sniff(data: &[u8]) -> Option<Self> {
        let has = |codes: &[u8]| {
            start_codes(data).any(|unit| unit.first().is_some_and(|code| codes.contains(code)))
        };
        // MPEG-4 uses codes of MPEG-2, but not the other way round.
        if has(&[0xb0, 0xb6]) {
            Some(Self::Mpeg4)
        } else if has(&[0xb3]) || has(&[0x00]) && has(&[0xb5]) {
            Some(Self::Mpeg2)
        } else if has(&[0x27, 0x47, 0x67]) {
            Some(Self::H264)
        } else if start_codes(data).any(|unit| matches!(unit, [0x40 | 0x42, 0x01, ..])) {
            Some(Self::Hevc)
        } else {
            None
        }
    }

    /// Whether a decoder can start with a packet that starts with these bytes.
    fn starts_decoding(self, data: &[u8]) -> bool {
        start_codes(data).any(|unit| match (self, unit) {
            (Self::Mpeg2, [code, ..]) => *code == 0xb3,
            (Self::Mpeg4, [code, ..]) => *code == 0xb0 || (0x20..=0x2f).contains(code),
            (Self::H264, [header, ..]) => header & 0x1f == 7,
            (Self::Hevc, [header, ..]) => matches!(header >> 1 & 0x3f, 32 | 33),
            _ => false,
        })
    }
}

/// From 1/90,000 s.
fn nanoseconds(ticks: i64) -> Option<u64> {
    u64::try_from(i128::from(ticks) * 100_000 / 9).ok()
}

/// What follows each start code.
fn start_codes(data: &[u8]) -> impl Iterator<Item = &[u8]> {
    data.windows(4)
        .enumerate()
        .filter(|(_, window)| window.starts_with(&[0, 0, 1]))
        .filter_map(|(at, _)| data.get(at + 3..))
}

/// What the pictures of a video show to be wrong with it.
fn picture_faults(parts: &[PesPart]) -> impl Iterator<Item = Fault> {
    let sum = |of: fn(&PictureCount) -> u64| parts.iter().map(|part| of(&part.pictures)).sum();
    let places = sum(|pictures| pictures.damaged);
    let pictures = sum(|pictures| pictures.missing);
    let missing = (pictures > 0).then_some(Fault::PicturesMissing { pictures });
    let damaged = (places > 0).then_some(Fault::PicturesDamaged { places });
    missing.into_iter().chain(damaged)
}

fn video(
    file: &File,
    container: Container,
    programs: Vec<PesProgram>,
    framing: Framing,
) -> io::Result<PesVideo> {
    let track = |(number, program): (u32, &PesProgram)| VideoTrack {
        number,
        codec: program.codec,
        is_default: number == 1,
        frames: None,
        maybe_hidden: 0,
        is_packed: false,
        start: None,
    };
    let contents = Contents {
        container,
        tracks: (1..).zip(&programs).map(track).collect(),
        faults: programs.first().map(|program| program.faults.clone()).unwrap_or_default(),
        parts: Vec::new(),
        length: file.metadata()?.len(),
    };
    Ok(PesVideo { contents, programs, framing })
}

use std::fmt;
use std::ops::Range;

use serde::{Deserialize, Serialize};

/// What a container holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contents {
    /// Its format.
    pub container: Container,
    /// Its video tracks, in the order of the file.
    pub tracks: Vec<VideoTrack>,
    /// What is wrong with the container.
    pub faults: Vec<Fault>,
    /// Where each file starts if several are appended to each other, and the first of them; empty
    /// if the container does not allow that.
    pub parts: Vec<u64>,
    /// Bytes in the file.
    pub length: u64,
}

impl Contents {
    /// The bytes of each file if several are appended to each other; empty if there is only one.
    pub fn appended(&self) -> Vec<Range<u64>> {
        if self.parts.len() < 2 {
            return Vec::new();
        }
        let ends = self.parts.iter().skip(1).copied().chain([self.length]);
        self.parts.iter().copied().zip(ends).map(|(start, end)| start..end).collect()
    }

    /// The video track that players show.
    pub fn default_track(&self) -> Option<&VideoTrack> {
        self.tracks.iter().find(|track| track.is_default).or(self.tracks.first())
    }
}

/// A container format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Container {
    /// MP4, MOV and their relatives.
    Mp4,
    /// Matroska and WebM.
    Matroska,
    /// MPEG transport stream.
    Ts,
    /// MPEG program stream.
    Ps,
    /// Flash Video.
    Flv,
    /// Audio Video Interleave.
    Avi,
    /// Advanced Systems Format: Windows Media.
    Asf,
    /// Ogg.
    Ogg,
    /// A raw AV1 stream.
    Obu,
    /// The container of libvpx and libaom.
    Ivf,
}

/// A video track of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VideoTrack {
    /// Its position among the video tracks of the file, from 1.
    pub number: u32,
    /// The codec as people call it, such as "HEVC" or "DNxHR", if it is known.
    pub codec: Option<&'static str>,
    /// Whether the container marks it as the one to show.
    pub is_default: bool,
    /// How many frames it holds, if the container tells.
    pub frames: Option<u64>,
    /// How many of them a player may leave out, because they only repeat others or help to decode
    /// them, as far as the container tells.
    pub maybe_hidden: u64,
    /// Whether a packet may hold several frames ("packed" MPEG-4), which the decoder separates.
    pub is_packed: bool,
    /// Presentation time of its first frame, in nanoseconds of the container's timeline.
    pub start: Option<u64>,
}

/// What is wrong with a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fault {
    /// It ends before the end that it declares.
    Truncated {
        /// Bytes that are missing.
        missing: u64,
    },
    /// It lacks the index, without which its data means nothing.
    NoIndex,
    /// It has an index, but nothing is listed there.
    NoTracks,
    /// It is encrypted.
    Encrypted,
    /// The index lists frames whose data is not in the file.
    FramesMissing {
        /// How many.
        missing: u64,
        /// How many it lists.
        expected: u64,
    },
    /// Its structure is broken.
    Damaged {
        /// At which byte.
        at: u64,
    },
    /// Packets of a transport stream or program stream are missing or damaged.
    PacketsLost {
        /// In how many places.
        gaps: u64,
    },
    /// Pictures of its video are damaged.
    PicturesDamaged {
        /// In how many places.
        places: u64,
    },
    /// The numbers of its pictures have gaps.
    PicturesMissing {
        /// How many are missing.
        pictures: u64,
    },
    /// It ends within a packet.
    EndsInPacket,
    /// Packets of its video are encrypted.
    EncryptedPackets {
        /// How many.
        packets: u64,
    },
    /// A part of its video is in a codec that is not read, although others are.
    NotRead {
        /// The codec.
        codec: String,
    },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated { missing } => write!(f, "the last {missing} bytes are missing"),
            Self::NoIndex => f.write_str(
                "its index (moov) is missing, as if recording or copying had not been finished",
            ),
            Self::NoTracks => f.write_str("it has no tracks"),
            Self::Encrypted => f.write_str("it is encrypted"),
            Self::FramesMissing { missing, expected } => {
                write!(f, "{missing} of its {expected} frames lie behind the end of the file")
            }
            Self::PacketsLost { gaps } => write!(
                f,
                "packets of its video were lost or damaged in {} (continuity errors)",
                places(*gaps)
            ),
            Self::PicturesDamaged { places: damaged } => {
                write!(f, "its pictures are damaged in {}", places(*damaged))
            }
            Self::PicturesMissing { pictures } => {
                write!(f, "{pictures} of its frames are missing between others")
            }
            Self::EndsInPacket => write!(f, "it ends in the middle of a packet"),
            Self::EncryptedPackets { packets } => {
                let packets_are = if *packets == 1 { "packet" } else { "packets" };
                write!(f, "{packets} {packets_are} of its video are encrypted")
            }
            Self::NotRead { codec } => {
                write!(f, "a part of its video is in {codec}, and was not read")
            }
            Self::Damaged { at } => write!(f, "its structure is broken at byte {at}"),
        }
    }
}

fn places(n: u64) -> String {
    if n == 1 { "1 place".into() } else { format!("{n} places") }
}

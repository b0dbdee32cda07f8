use std::borrow::Cow;
use std::fmt;

use moliceiro_messages::{CarriedRun, Color, Encoding, Letterbox, Size, Skipped};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::error::Incomplete;

/// One frame of a video, as a letterboxed picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodedFrame {
    /// Its position among all decoded frames, from 0.
    pub index: u64,
    /// Its position among the selected frames, from 0, whether those were delivered or skipped.
    pub number: u64,
    /// Presentation time in nanoseconds from the first frame, if the container has times.
    pub pts: Option<u64>,
    /// Size of the picture, in pixels.
    pub size: Size,
    /// Where the video's frame lies in the picture.
    pub letterbox: Letterbox,
    /// Colour matrix and range of the picture's Y'CbCr values.
    pub color: Color,
    /// Format of `pixels`.
    pub encoding: Encoding,
    /// The picture, in the format that `encoding` names.
    pub pixels: Vec<u8>,
    /// Set for the frames that [`thumbnail_slot`](moliceiro_messages::thumbnail_slot) picks.
    pub thumbnail: Option<DecodedThumbnail>,
    /// Selected frames before it, and after the one delivered before it, that equal one of those.
    pub carried: Vec<CarriedRun>,
}

/// A small JPEG of a frame, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodedThumbnail {
    /// Its place among the video's thumbnails.
    pub slot: u8,
    /// The whole frame, without a border, as a JPEG file.
    pub jpeg: Vec<u8>,
}

/// A selected frame that cannot be decoded although its neighbours can: a file of a folder that is
/// not a picture.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("frame {index} cannot be decoded: {reason}")]
pub struct UndecodableFrame {
    /// Its position among all frames, from 0.
    pub index: u64,
    /// Its position among the selected frames, from 0.
    pub number: u64,
    /// The cause, with the name of the file.
    pub reason: String,
    /// As in [`DecodedFrame`].
    pub carried: Vec<CarriedRun>,
}

/// What was decoded of a video.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DecodedVideo {
    /// Number of selected frames, whether they were delivered, skipped or equal to another one.
    pub frames: u64,
    /// Number of all decoded frames before the end of the range.
    pub decoded: u64,
    /// Time from the start of the range's first frame to the end of its last one, in nanoseconds,
    /// if frames have times.
    pub duration: Option<u64>,
    /// Why the video has fewer frames than it should, if it does.
    pub incomplete: Option<Incomplete>,
    /// What a user should know about it although it is complete.
    pub notices: Vec<Notice>,
    /// Selected frames after the last one that was delivered, which equal it.
    pub carried: Vec<CarriedRun>,
    /// Frames that are not selected, by the reason, if that is known.
    pub skipped: Option<Skipped>,
}

/// How many other tracks a notice names.
const MOST_NAMED: usize = 8;

/// Something about a video that does not make it incomplete.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Notice {
    /// The file has other video tracks, which were not decoded.
    OtherVideoTracks {
        /// The number of the decoded track among the video tracks, from 1.
        decoded: u32,
        /// The others, with their codecs as people call them.
        others: Vec<(u32, Option<Cow<'static, str>>)>,
    },
    /// A recording begins between two key frames, and its first frames need earlier ones.
    BeginsBetweenKeyFrames {
        /// How many frames are not shown for that reason.
        frames: u64,
    },
    /// The times of a stream pass over frames, and nothing else shows why.
    TimesPassOver {
        /// How many.
        frames: u64,
    },
    /// Only key frames were asked for, and packets of this codec do not say whether they are.
    UnknownKeyFrames {
        /// The codec, as GStreamer calls it.
        format: String,
    },
    /// A folder has files that are not pictures.
    IgnoredFiles {
        /// How many.
        count: u64,
        /// The names of the first ones.
        names: Vec<String>,
    },
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherVideoTracks { decoded, others } => {
                write!(f, "video track {decoded} of {} was analysed, and not ", others.len() + 1)?;
                for (i, (number, codec)) in others.iter().take(MOST_NAMED).enumerate() {
                    write!(f, "{}{number}", if i == 0 { "" } else { ", " })?;
                    if let Some(codec) = codec {
                        write!(f, " ({codec})")?;
                    }
                }
                if others.len() > MOST_NAMED {
                    write!(f, ", …")?;
                }
                write!(f, "; --video-track, or video_track of an upload, chooses another one")
            }
            Self::BeginsBetweenKeyFrames { frames } => {
                let what = if *frames == 1 { "frame" } else { "frames" };
                write!(
                    f,
                    "the first {frames} {what} cannot be decoded: the recording begins between \
                     two key frames"
                )
            }
            Self::TimesPassOver { frames } => {
                let (what, they_are) =
                    if *frames == 1 { ("frame", "it is") } else { ("frames", "they are") };
                write!(
                    f,
                    "its times pass over {frames} {what}: it was cut or paused there, or {they_are} \
                     missing"
                )
            }
            Self::UnknownKeyFrames { format } => write!(
                f,
                "every frame was decoded: which of them are key frames is not known for {format}"
            ),
            Self::IgnoredFiles { count, names } => {
                let more = if *count > names.len() as u64 { ", …" } else { "" };
                let (files, pictures) = match count {
                    1 => ("file was", "it is not a picture"),
                    _ => ("files were", "they are not pictures"),
                };
                let names = names.join(", ");
                write!(f, "{count} {files} ignored, because {pictures}: {names}{more}")
            }
        }
    }
}

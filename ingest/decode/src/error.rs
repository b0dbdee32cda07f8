use std::time::Duration;

use gstreamer as gst;
use thiserror::Error;

/// Why nothing of a video could be decoded.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// The URI's scheme is none that is read.
    #[error(
        "{uri}: cannot read {scheme} URIs; give a file, as file:///folder/video.mp4 or http://server/video.mp4"
    )]
    UnsupportedScheme {
        /// What was asked for.
        uri: String,
        /// Its scheme.
        scheme: String,
    },
    /// A `file` URI that names no local path.
    #[error(
        "{uri} names no file of this machine; write it as file:///folder/video.mp4, with no host"
    )]
    NotLocal {
        /// What was asked for.
        uri: String,
    },
    /// There is no such file.
    #[error("{path}: no such file; the path must exist on the machine that decodes")]
    NotFound {
        /// The path.
        path: String,
    },
    /// The file is there, but cannot be opened.
    #[error("{path} cannot be read ({reason}); make it readable for the user that runs the ingest")]
    NotReadable {
        /// The path.
        path: String,
        /// What the operating system says.
        reason: String,
    },
    /// A pipe, a socket, a device.
    #[error("{path} is {what}, not a file; give one video file")]
    NotAFile {
        /// The path.
        path: String,
        /// What it is.
        what: &'static str,
    },
    /// A folder in which nothing is a picture.
    #[error(
        "{path} is a folder without pictures; give one with files such as .jpg or .png, or one video file"
    )]
    NoPictures {
        /// The path.
        path: String,
    },
    /// A folder with more pictures than are taken for one video.
    #[error("{path} has more than {most} pictures; divide them into several folders")]
    TooManyPictures {
        /// The path.
        path: String,
        /// How many there may be.
        most: usize,
    },
    /// The file has no bytes.
    #[error("{path} is empty; copy it here again")]
    Empty {
        /// The path.
        path: String,
    },
    /// No demuxer and no decoder takes these bytes for its format.
    #[error(
        "{video} is not in a format that GStreamer knows as video or picture; convert it, for example to MP4 with H.264"
    )]
    UnknownFormat {
        /// The file.
        video: String,
    },
    /// It has no moving picture, only sound or text.
    #[error("{video} has no video stream; give a file with moving pictures")]
    NoVideo {
        /// The file.
        video: String,
    },
    /// The container or its stream is broken before the first frame.
    #[error("{video} is damaged or incomplete ({reason}); copy or record it again")]
    Damaged {
        /// The file.
        video: String,
        /// What GStreamer says.
        reason: String,
    },
    /// No installed plugin decodes it.
    #[error(
        "{video} needs a GStreamer plugin that is not installed: {what}; install it (most are in gstreamer1.0-libav and gstreamer1.0-plugins-ugly), or convert the video to H.264"
    )]
    MissingPlugin {
        /// The file.
        video: String,
        /// What the plugin would be.
        what: String,
    },
    /// It names other addresses, which would be opened unchecked.
    #[error(
        "{video} is a playlist ({format}), which is not followed; give the file or the address of the video itself"
    )]
    Playlist {
        /// The file.
        video: String,
        /// Its media type.
        format: String,
    },
    /// Frames of unreasonable size.
    #[error(
        "{video} announces frames of {width}×{height} pixels, more than is decoded; make it smaller first"
    )]
    TooLarge {
        /// The file.
        video: String,
        /// Pixels in a row.
        width: u32,
        /// Rows.
        height: u32,
    },
    /// It ended, without an error, before the first frame.
    #[error("{video} holds no frame that can be decoded; record or convert it again")]
    NoFrames {
        /// The file.
        video: String,
    },
    /// It ended, or was stopped, before the first frame that is wanted.
    #[error("{video} has no frame in the wanted range; give another start or end")]
    OutOfRange {
        /// The file.
        video: String,
    },
    /// Nothing came for too long.
    #[error(
        "{video} gave no frame for {after:?}; if it is only slow, make ingest.stall_timeout longer"
    )]
    Stalled {
        /// The file.
        video: String,
        /// How long it was waited for.
        after: Duration,
    },
    /// GStreamer itself could not do something with the video, which is not known to be the video's
    /// fault.
    #[error("{video}: GStreamer failed ({reason}); run the file through gst-play-1.0 to see more")]
    Failed {
        /// The file.
        video: String,
        /// What GStreamer says.
        reason: String,
    },
    /// GStreamer cannot start at all.
    #[error("GStreamer does not start ({reason}); check its installation with gst-inspect-1.0")]
    NoGStreamer {
        /// What it says.
        reason: String,
    },
    /// A part of GStreamer that every video needs is not installed.
    #[error("GStreamer's element {element} is missing; install the package {package}")]
    MissingElement {
        /// Its name.
        element: &'static str,
        /// Debian's name for the package that has it.
        package: &'static str,
    },
    /// Nobody wanted the frames any more.
    #[error("decoding was cancelled")]
    Cancelled,
    /// A fault of the program.
    #[error("decoding ended by a fault in the program; see its log, and report it")]
    Panicked,
}

/// Why a video has fewer frames than it should have.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Problem {
    /// It ends without an error, but before the end that its container announces.
    #[error("cut short: it ends after {} of the {} that its container announces", seconds(*.decoded), seconds(*.announced))]
    CutShort {
        /// End of what was decoded, on the video's timeline, in nanoseconds.
        decoded: u64,
        /// End of the video as the container has it, in nanoseconds.
        announced: u64,
    },
    /// Some of its frames could not be decoded.
    #[error("damaged: {lost} of its frames cannot be decoded")]
    Damaged {
        /// How many.
        lost: u64,
    },
    /// An error in the middle.
    #[error("broken: {reason}")]
    Broken {
        /// What GStreamer says.
        reason: String,
    },
    /// A live source broke off, or there was no room for some of its frames.
    #[error("{reason}")]
    Interrupted {
        /// What happened.
        reason: String,
    },
    /// Nothing came for too long.
    #[error("stalled: no further frame for {after:?}")]
    Stalled {
        /// How long it was waited for.
        after: Duration,
    },
}

impl DecodeError {
    /// What GStreamer says; else the whole text.
    pub(super) fn into_reason(self) -> String {
        match self {
            Self::Damaged { reason, .. }
            | Self::Failed { reason, .. }
            | Self::NotReadable { reason, .. } => reason,
            other => other.to_string(),
        }
    }
}

impl Problem {
    /// The same, when there is no frame before it.
    pub(super) fn into_error(self, name: &str) -> DecodeError {
        let video = name.to_owned();
        match self {
            Self::Stalled { after } => DecodeError::Stalled { video, after },
            other => DecodeError::Failed { video, reason: other.to_string() },
        }
    }
}

fn seconds(nanoseconds: u64) -> String {
    format!("{:.2} s", Duration::from_nanos(nanoseconds).as_secs_f64())
}

/// What an error message of GStreamer means for the video called `name`.
pub(super) fn from_message(name: &str, message: &gst::message::Error) -> DecodeError {
    let (video, error) = (name.to_owned(), message.error());
    let reason = describe(&error, message.debug().as_deref());
    match (
        error.kind::<gst::StreamError>(),
        error.kind::<gst::ResourceError>(),
        error.kind::<gst::CoreError>(),
    ) {
        (Some(gst::StreamError::TypeNotFound | gst::StreamError::WrongType), ..) => {
            DecodeError::UnknownFormat { video }
        }
        (Some(gst::StreamError::CodecNotFound), ..)
        | (_, _, Some(gst::CoreError::MissingPlugin)) => {
            DecodeError::MissingPlugin { video, what: reason }
        }
        (Some(_), ..) => DecodeError::Damaged { video, reason },
        (_, Some(gst::ResourceError::NotFound), _) => DecodeError::NotFound { path: video },
        (_, Some(gst::ResourceError::OpenRead | gst::ResourceError::NotAuthorized), _) => {
            DecodeError::NotReadable { path: video, reason }
        }
        _ => DecodeError::Failed { video, reason },
    }
}

/// An error's text in one line, with the last line of its details, where elements say what they
/// mean.
pub(super) fn describe(error: &gst::glib::Error, debug: Option<&str>) -> String {
    let text = error.message().lines().next().unwrap_or_default().trim_end_matches('.').to_owned();
    match debug
        .and_then(|debug| debug.lines().skip(1).last())
        .map(|line| line.trim().trim_end_matches('.'))
    {
        Some(detail) if !detail.is_empty() && detail != text => format!("{text}: {detail}"),
        _ => text,
    }
}

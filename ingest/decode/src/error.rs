use std::borrow::Cow;
use std::time::Duration;

use gstreamer as gst;
use moliceiro_containers::Fault;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Why nothing could be decoded of a video.
///
/// `path` and `video` name the file, and `reason` is the text of GStreamer or the operating system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Error)]
#[allow(missing_docs, reason = "the fields are explained above")]
pub enum DecodeError {
    /// Only `file` URIs are read.
    #[error(
        "{uri}: cannot read {scheme} URIs; give a file, such as file:///folder/video.mp4 or \
         http://server/video.mp4"
    )]
    UnsupportedScheme { uri: String, scheme: String },
    /// A `file` URI with a host, or without a path.
    #[error(
        "{uri} does not name a file on this machine; write it as file:///folder/video.mp4, \
         without a host"
    )]
    NotLocal { uri: String },
    /// The path does not exist.
    #[error("{path}: no such file; the path must exist on the machine that decodes")]
    NotFound { path: String },
    /// The file exists, but cannot be opened.
    #[error("{path} cannot be read ({reason}); make it readable for the user that runs the ingest")]
    NotReadable { path: String, reason: String },
    /// A pipe, a socket or a device.
    #[error("{path} is {what}, not a file; give one video file")]
    NotAFile { path: String, what: Cow<'static, str> },
    /// Pictures of a folder are selected by their number alone.
    #[error(
        "{path} is a folder of pictures, which have no times; select with --every N instead of \
         --fps, --start and --end"
    )]
    NoTimes { path: String },
    /// No file of the folder has the extension of a picture.
    #[error(
        "{path} is a folder without pictures; give a folder with files such as .jpg or .png, or \
         one video file"
    )]
    NoPictures { path: String },
    /// A folder with more pictures than one video may have.
    #[error("{path} has more than {most} pictures; split them across several folders")]
    TooManyPictures { path: String, most: usize },
    /// The file has no bytes.
    #[error("{path} is empty; copy it here again")]
    Empty { path: String },
    /// No demuxer or decoder recognises the file.
    #[error(
        "{video} is not in a format that GStreamer knows as video or picture; convert it, for \
         example to MP4 with H.264"
    )]
    UnknownFormat { video: String },
    /// It is recognised, but nothing decodes it. `format` has its article.
    #[error("{video} is {format}, which is not decoded; {advice}")]
    UnsupportedPicture { video: String, format: String, advice: Cow<'static, str> },
    /// The decoder of this picture is not installed. `package` is Debian's.
    #[error(
        "{video} is {format}, and GStreamer's element {element}, which decodes it, is missing; \
         install the package {package}"
    )]
    MissingPictureDecoder {
        video: String,
        format: Cow<'static, str>,
        element: Cow<'static, str>,
        package: Cow<'static, str>,
    },
    /// It has only sound or text.
    #[error("{video} has no video stream; give a file with moving pictures")]
    NoVideo { video: String },
    /// No decoder reads this format, or the one that does cannot be used.
    #[error(
        "{video} is {format}, which cannot be decoded; convert it, for example to MP4 with H.264"
    )]
    Unsupported { video: String, format: String },
    /// The upload asks for a video track that the file does not have.
    #[error("{video} has no video track {wanted}: it has {tracks}; give a number up to that")]
    NoSuchTrack { video: String, wanted: u32, tracks: u32 },
    /// The container or its stream is broken before the first frame.
    #[error("{video} is damaged or incomplete ({reason}); copy or record it again")]
    Damaged { video: String, reason: String },
    /// `what` is its codec or container, and `package` is Debian's.
    #[error("{video} is {what}, which {}", remedy(.package.as_deref()))]
    MissingPlugin { video: String, what: String, package: Option<Cow<'static, str>> },
    /// The decoder has frames that GStreamer cannot represent. `pixels` describes them.
    #[error(
        "{video} is {codec} with {pixels}, which GStreamer cannot represent; convert it to 8 bits \
         a value, for example with: ffmpeg -i FILE -pix_fmt yuv420p FILE.mp4"
    )]
    UnsupportedPixels { video: String, codec: String, pixels: String },
    /// Its owner has to decrypt it.
    #[error("{video} is encrypted; give a copy without encryption")]
    Encrypted { video: String },
    /// `what` is what it is instead.
    #[error("{video} is not a video but {what}; give a video or pictures")]
    NotAVideo { video: String, what: Cow<'static, str> },
    /// It names other addresses, which would be opened without a check. `format` is its media type.
    #[error(
        "{video} is a playlist ({format}), and playlists are not followed; give the file or the \
         address of the video itself"
    )]
    Playlist { video: String, format: String },
    /// Its frames would take more memory than one video may. Sizes are in pixels.
    #[error(
        "{video} declares frames of {width}×{height} pixels, which exceeds the limit; scale it \
         down first"
    )]
    TooLarge { video: String, width: u32, height: u32 },
    /// It ended, without an error, before the first frame.
    #[error("{video} contains no frame that can be decoded; record or convert it again")]
    NoFrames { video: String },
    /// It ended, or was stopped, before the first selected frame.
    #[error("{video} has no frame in the selected range; change its start or end")]
    OutOfRange { video: String },
    /// The decoder produced nothing for `after`, before the first frame.
    #[error(
        "{video} produced no frame for {after:?}; if it is only slow, make ingest.stall_timeout \
         longer"
    )]
    Stalled { video: String, after: Duration },
    /// GStreamer failed for a cause that may not be in the video.
    #[error("{video}: GStreamer failed ({reason}); play the file with gst-play-1.0 to see more")]
    Failed { video: String, reason: String },
    /// GStreamer cannot be initialised.
    #[error("GStreamer does not start ({reason}); check its installation with gst-inspect-1.0")]
    NoGStreamer { reason: String },
    /// An element that every video needs is not installed. `package` is Debian's.
    #[error("GStreamer's element {element} is missing; install the package {package}")]
    MissingElement { element: Cow<'static, str>, package: Cow<'static, str> },
    /// The process that decoded it crashed. `how` is the signal or the exit code.
    #[error(
        "{video}: the decoder crashed ({how}) on frame {frame}; convert the video, for example to \
         MP4 with H.264"
    )]
    Crashed { video: String, how: String, frame: u64 },
    /// The process that decoded it was stopped, because it needed more memory than one video may.
    #[error("{video}: the decoder needed more than {megabytes} MB; scale the video down first")]
    OutOfMemory { video: String, megabytes: u64 },
    /// The process that decoded it was stopped, because it worked for too long without a frame.
    #[error(
        "{video}: the decoder used {seconds} s of processor time without a frame; convert the \
         video, for example to MP4 with H.264"
    )]
    TooSlow { video: String, seconds: u64 },
    /// No process can be started to decode in.
    #[error("cannot start a process to decode in ({reason}); make more processes or memory free")]
    NoWorker { reason: String },
    /// The consumer dropped its [`Decoding`](crate::Decoding).
    #[error("decoding was cancelled")]
    Cancelled,
    /// A bug in this program.
    #[error("decoding ended with a bug in the program; see its log, and report it")]
    Panicked,
}

/// Why a video has fewer frames than it should.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Error)]
pub enum Incomplete {
    /// It ends without an error, but before the end that its container declares.
    #[error(
        "truncated: it ends after {} of the {} that its container declares",
        seconds(*.decoded),
        seconds(*.declared)
    )]
    Truncated {
        /// End of the last decoded frame on the video's timeline, in nanoseconds.
        decoded: u64,
        /// End of the video according to its container, in nanoseconds.
        declared: u64,
    },
    /// The end of a picture's file is missing.
    #[error("truncated: {}", missing_rows(*.missing))]
    PictureTruncated {
        /// How many of the last rows are missing, and how many it has, if that is known.
        missing: Option<(u32, u32)>,
    },
    /// Pictures of a folder whose ends are missing.
    #[error("{count} of its pictures are not whole; the first one is {first} ({problem})")]
    PicturesTruncated {
        /// How many.
        count: u64,
        /// The name of the first one.
        first: String,
        /// What is wrong with that one.
        problem: String,
    },
    /// The decoder could not decode some of its frames.
    #[error("damaged: {lost} of its frames cannot be decoded")]
    Damaged {
        /// Number of frames.
        lost: u64,
    },
    /// The container holds more frames than were decoded, or fewer.
    #[error("{decoded} frames were decoded, but its container holds {expected}")]
    Miscounted {
        /// Number of decoded frames.
        decoded: u64,
        /// Number of frames that a player shows, according to the container.
        expected: u64,
    },
    /// The container is damaged.
    #[error("damaged: {0}")]
    Container(Fault),
    /// An error between two frames.
    #[error("broken: {reason}")]
    Broken {
        /// GStreamer's text.
        reason: String,
    },
    /// A live source disconnected, or some of its frames were dropped.
    #[error("{reason}")]
    Interrupted {
        /// What happened.
        reason: String,
    },
    /// The decoder produced nothing more for `after`.
    #[error("stalled: no further frame for {after:?}")]
    Stalled {
        /// The stall timeout.
        after: Duration,
    },
    /// The process that decoded it crashed.
    #[error("the decoder crashed ({how}) on frame {frame}")]
    Crashed {
        /// The signal or the exit code.
        how: String,
        /// Index of the first frame that is missing.
        frame: u64,
    },
    /// The process that decoded it was stopped, because it needed more memory than one video may.
    #[error("the decoder needed more than {megabytes} MB on frame {frame}")]
    OutOfMemory {
        /// The limit.
        megabytes: u64,
        /// Index of the first frame that is missing.
        frame: u64,
    },
    /// The process that decoded it was stopped, because it worked for too long.
    #[error("the decoder used {seconds} s of processor time for {frame} frames")]
    TooSlow {
        /// Processor time.
        seconds: u64,
        /// Number of frames until then.
        frame: u64,
    },
}

/// The only error of delivering a frame: the consumer dropped its
/// [`Decoding`](crate::Decoding).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cancelled;

/// The pixels of a video whose frames are indexes into a table of colours.
pub(crate) const PALETTE: &str = "a palette of colours";

/// Why a frame cannot be made a picture.
#[derive(Debug, Error)]
pub(crate) enum PictureError {
    #[error(transparent)]
    GStreamer(#[from] gst::glib::BoolError),
    #[error("the decoder returned a frame without a format")]
    NoFormat,
    /// GStreamer's AVI demuxer drops the palette.
    #[error("{PALETTE}")]
    Palette,
    /// The JPEG encoder reported an error on its bus.
    #[error("{0}")]
    JpegEncoder(String),
    #[error("the JPEG encoder does not accept pictures: {0}")]
    JpegEncoderInput(#[from] gst::FlowError),
    #[error("the JPEG encoder returned no picture")]
    NoJpeg,
    #[error("the JPEG encoder returned a buffer that cannot be read")]
    UnreadableJpeg,
    #[error("a side of {0} pixels is too long for a thumbnail")]
    ThumbnailTooLarge(u32),
    #[error(transparent)]
    Thumbnail(#[from] jpeg_encoder::EncodingError),
}

impl From<Cancelled> for DecodeError {
    fn from(Cancelled: Cancelled) -> Self {
        Self::Cancelled
    }
}

impl DecodeError {
    /// The text of GStreamer or the operating system, or else the whole text.
    pub(crate) fn into_reason(self) -> String {
        match self {
            Self::Damaged { reason, .. }
            | Self::Failed { reason, .. }
            | Self::NotReadable { reason, .. } => reason,
            other => other.to_string(),
        }
    }
}

fn remedy(package: Option<&str>) -> String {
    let convert = "convert it to H.264, for example with: ffmpeg -i FILE -c:v libx264 FILE.mp4";
    match package {
        Some(package) => format!("needs a plugin: install the package {package}; or {convert}"),
        None => format!("no plugin of GStreamer decodes; {convert}"),
    }
}

impl DecodeError {
    /// Whether another decoder may do better.
    pub(crate) fn is_of_decoder(&self) -> bool {
        matches!(self, Self::Failed { .. } | Self::Damaged { .. } | Self::UnsupportedPixels { .. })
    }
}

impl Incomplete {
    /// The error of a video called `name` that has no frame before this.
    pub(crate) fn into_error(self, name: &str) -> DecodeError {
        let video = name.to_owned();
        match self {
            Self::Stalled { after } => DecodeError::Stalled { video, after },
            Self::Crashed { how, frame } => DecodeError::Crashed { video, how, frame },
            Self::OutOfMemory { megabytes, .. } => DecodeError::OutOfMemory { video, megabytes },
            Self::TooSlow { seconds, .. } => DecodeError::TooSlow { video, seconds },
            Self::Container(Fault::Encrypted | Fault::EncryptedPackets { .. }) => {
                DecodeError::Encrypted { video }
            }
            other => DecodeError::Failed { video, reason: other.to_string() },
        }
    }
}

impl PictureError {
    pub(crate) fn into_decode_error(self, name: &str) -> DecodeError {
        DecodeError::Failed { video: name.to_owned(), reason: self.to_string() }
    }
}

fn seconds(nanoseconds: u64) -> String {
    format!("{:.2} s", Duration::from_nanos(nanoseconds).as_secs_f64())
}

fn missing_rows(missing: Option<(u32, u32)>) -> String {
    match missing {
        Some((missing, rows)) => {
            format!("the last {missing} of the picture's {rows} rows are missing")
        }
        None => "the end of the picture's data is missing".to_owned(),
    }
}

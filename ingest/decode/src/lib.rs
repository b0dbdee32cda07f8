//! Decodes one video on threads of its own, and hands its frames over as letterboxed pictures.
//!
//! The way of a frame: `pipeline` lets GStreamer find the video's demuxer and decoder and queues
//! what comes out; `run` takes one frame after the other from there, watches for errors and stalls;
//! `output` counts it; `chooser` says whether it is wanted; `picture` scales, turns upright and
//! letterboxes it; `jpeg` encodes it; a bounded channel takes it to whoever called [`start`].
//! `images` decodes some formats of pictures itself, and `folder` finds the pictures of a folder.
//! Each step waits for the next one, so memory stays bounded. Meanwhile, `watch` looks at what the
//! demuxer and the decoder get, so that at the end `verdict` can tell a whole video from one that
//! is cut short or damaged.

mod announced;
mod chooser;
mod claims;
mod color;
mod cut;
mod elements;
mod error;
mod file;
mod folder;
mod geometry;
mod images;
mod jpeg;
pub mod live;
mod observer;
mod output;
mod picture;
mod pipeline;
mod run;
mod scale;
mod still;
mod verdict;
mod watch;

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use moliceiro_messages::{Color, Encoding, FrameSelection, Letterbox, Size};
use tracing::error;
use url::Url;

pub use announced::Announced;
pub use cut::cut;
pub use error::{DecodeError, Problem};
use file::Origin;
pub use observer::{DecodeEvent, Observer};

/// The sides of pictures that fit their frames are multiples of this: what models with strides up
/// to 32 take.
pub const FIT_STEP: u32 = 32;

/// How a video's frames are wanted.
#[derive(Clone, Debug)]
pub struct DecodeSettings {
    /// Size of each picture.
    pub size: Size,
    /// Whether pictures are only as large as their frame needs: sides are multiples of
    /// [`FIT_STEP`], and at most `size`.
    pub fit: bool,
    /// How each picture's pixels are encoded.
    pub encoding: Encoding,
    /// 1 (small) to 100 (like the original), for [`Encoding::Jpeg`].
    pub jpeg_quality: u8,
    /// Which frames are handed over. Decoding stops at the end of the range.
    pub choice: FrameSelection,
    /// Frames with a smaller index are decoded and counted, but not handed over.
    pub skip_before: u64,
    /// Whether some frames are to have a still, for people to look at.
    pub stills: bool,
    /// Pictures that wait to be taken; when there are so many, decoding waits.
    pub queue: usize,
    /// A video that gives no frame for so long, while somebody waits for one, is given up.
    pub stall_timeout: Duration,
    /// Receives what happens while decoding.
    pub observer: Observer,
}

/// One frame of a video, as a letterboxed picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodedFrame {
    /// Its number among all decoded frames, from 0.
    pub index: u64,
    /// Its number among the chosen ones, from 0, whether they were handed over or skipped.
    pub number: u64,
    /// When it is shown, in nanoseconds from the start of the video's timeline, if the container
    /// says.
    pub pts: Option<u64>,
    /// Size of the picture.
    pub size: Size,
    /// Where in the picture the video's frame lies.
    pub letterbox: Letterbox,
    /// What the picture's Y'CbCr values mean.
    pub color: Color,
    /// How `pixels` are to be read.
    pub encoding: Encoding,
    /// The picture, or what `encoding` says of it.
    pub pixels: Vec<u8>,
    /// If it is one of the frames that people may look at.
    pub still: Option<DecodedThumbnail>,
}

/// A frame for people to look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodedThumbnail {
    /// Its place among the video's stills.
    pub slot: u8,
    /// The whole frame as a small JPEG file.
    pub jpeg: Vec<u8>,
}

/// A chosen frame that cannot be had, though those around it can: a picture of a folder that is no
/// picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LostFrame {
    /// Its index.
    pub index: u64,
    /// Its number among the chosen ones.
    pub number: u64,
    /// Why, with the name of the file.
    pub reason: String,
}

/// What a video turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoded {
    /// Chosen frames, whether they were handed over or skipped.
    pub frames: u64,
    /// All frames before the end of the range.
    pub decoded: u64,
    /// Time from the start of the range's first frame to the end of its last one, in nanoseconds,
    /// if they have times.
    pub duration: Option<u64>,
    /// Why there are not more frames, if there should be.
    pub problem: Option<Problem>,
}

/// A video being decoded. Dropping it stops that.
#[derive(Debug)]
pub struct Decoding {
    /// The frames, in decode order. They end when the outcome is there.
    pub frames: async_channel::Receiver<Result<DecodedFrame, LostFrame>>,
    announced: Announced,
    outcome: async_channel::Receiver<Result<Decoded, DecodeError>>,
}

impl Decoding {
    /// What the container says of the video: it fills in as soon as the first frame is decoded.
    pub fn announced(&self) -> Announced {
        self.announced.clone()
    }

    /// How it ended. To be asked after the last frame: frames that nobody took are thrown away, and
    /// then this is
    /// [`DecodeError::Cancelled`].
    pub async fn outcome(self) -> Result<Decoded, DecodeError> {
        self.frames.close();
        self.outcome.recv().await.unwrap_or(Err(DecodeError::Panicked))
    }
}

impl Drop for Decoding {
    fn drop(&mut self) {
        self.frames.close();
    }
}

/// Starts GStreamer and looks for the parts of it that every video needs. [`start`] does it too.
pub fn init() -> Result<(), DecodeError> {
    elements::init()
}

/// Decodes the video behind `uri` on a new thread. It needs no runtime, and blocks none.
pub fn start(uri: &Url, settings: DecodeSettings) -> Decoding {
    start_from(Origin::Uri(uri.clone()), settings)
}

/// As [`start`], for the video in an open file. `name` is what errors call it.
pub fn start_file(file: File, name: String, settings: DecodeSettings) -> Decoding {
    start_from(Origin::File { file, name }, settings)
}

fn start_from(origin: Origin, settings: DecodeSettings) -> Decoding {
    spawn(settings.queue, move |announced, frames| {
        run::decode(&origin, &settings, announced, frames)
    })
}

fn spawn(
    queue: usize,
    decode: impl FnOnce(&Announced, &output::Frames) -> Result<Decoded, DecodeError> + Send + 'static,
) -> Decoding {
    let (frames, receiver) = async_channel::bounded(queue.max(1));
    let (done, outcome) = async_channel::bounded(1);
    let announced = Announced::default();
    let decoding = Decoding { frames: receiver, announced: announced.clone(), outcome };
    let thread = std::thread::Builder::new().name("decode".into()).spawn(move || {
        let outcome = catch_unwind(AssertUnwindSafe(|| decode(&announced, &frames)));
        // Nobody asks for the outcome of a cancelled video.
        let _ = done.try_send(outcome.unwrap_or(Err(DecodeError::Panicked)));
        drop(frames);
    });
    if let Err(error) = thread {
        // The closure is gone, and with it both channels: the caller sees no frames, and
        // `Panicked`.
        error!(%error, "cannot start a thread for decoding");
    }
    decoding
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_while_decoding_is_an_error() {
        let decoding = spawn(1, |_, _| panic!("as a test"));
        assert!(decoding.frames.recv().await.is_err());
        assert_eq!(decoding.outcome().await, Err(DecodeError::Panicked));
    }
}

use std::time::Duration;

use moliceiro_messages::{Deinterlace, Encoding, Fit, FrameSelection, Scaling, Size};
use serde::{Deserialize, Serialize};

use crate::limits::MAX_MEMORY;
use crate::observer::Observer;

/// Which frames of a video to deliver, and how.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DecodeSettings {
    /// Size of each picture, in pixels, or what `fit` makes of it.
    pub size: Size,
    /// How a frame is fitted into the picture.
    pub fit: Fit,
    /// How pixels are scaled.
    pub scaling: Scaling,
    /// How each picture's pixels are encoded.
    pub encoding: Encoding,
    /// Quality for [`Encoding::Jpeg`], from 1 (smallest file) to 100 (closest to the original).
    pub jpeg_quality: u8,
    /// How interlaced frames are analysed.
    pub deinterlace: Deinterlace,
    /// Which frames are delivered. Decoding stops at the end of the range.
    pub selection: FrameSelection,
    /// Frames with a smaller index are decoded and counted, but not delivered.
    pub skip_before: u64,
    /// Whether some of the frames carry a thumbnail.
    pub thumbnails: bool,
    /// How many pictures are buffered. While the buffer is full, decoding pauses.
    pub queue: usize,
    /// How long the decoder may take to produce a frame. Time in which it waits for a slow
    /// consumer does not count.
    pub stall_timeout: Duration,
    /// The most bytes of memory that the process of a video may take, if it is decoded in a process
    /// of its own ([`Workers`](crate::Workers)).
    pub max_memory: u64,
    /// Receives events during decoding.
    #[serde(skip)]
    pub observer: Observer,
}

impl DecodeSettings {
    /// Delivers every frame as a letterboxed I420 picture of this size, without thumbnails.
    pub fn new(size: Size) -> Self {
        Self {
            size,
            fit: Fit::Letterbox,
            scaling: Scaling::default(),
            encoding: Encoding::I420,
            jpeg_quality: 90,
            deinterlace: Deinterlace::default(),
            selection: FrameSelection::every(1),
            skip_before: 0,
            thumbnails: false,
            queue: 8,
            stall_timeout: Duration::from_secs(30),
            max_memory: MAX_MEMORY,
            observer: Observer::default(),
        }
    }
}

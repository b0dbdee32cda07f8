//! What parent and child send each other: CBOR behind its length, and the bytes of pictures.

use std::io;

use moliceiro_messages::{CarriedRun, Color, Encoding, Letterbox, Size};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::decoded::{DecodedFrame, DecodedThumbnail, DecodedVideo, UndecodableFrame};
use crate::error::DecodeError;
use crate::settings::DecodeSettings;

/// Bytes of a message without its pictures: enough for a long path in an error.
pub(crate) const MAX_MESSAGE: usize = 256 << 10;

/// From the parent, together with descriptors: the end of a pipe for messages and, unless the input
/// is a folder, the open file.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Job {
    pub(crate) settings: DecodeSettings,
    pub(crate) input: JobInput,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum JobInput {
    /// Errors call the file by this name.
    File {
        name: String,
    },
    Folder {
        uri: Url,
    },
}

/// From the child.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Message {
    Container(Container),
    /// How many frames are decoded, whether they are selected or not.
    Decoded(u64),
    /// The bytes of the picture follow, and those of the thumbnail.
    Frame(FrameHeader),
    Undecodable {
        index: u64,
        number: u64,
        reason: String,
        carried: Vec<CarriedRun>,
    },
    /// Nothing follows.
    Outcome(Result<DecodedVideo, DecodeError>),
}

/// What is known of the container so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Container {
    pub(crate) duration: Option<u64>,
    pub(crate) frame_rate: Option<(u32, u32)>,
    pub(crate) frames: Option<u64>,
    pub(crate) pixels: Option<u64>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct FrameHeader {
    index: u64,
    number: u64,
    pts: Option<u64>,
    size: Size,
    letterbox: Letterbox,
    color: Color,
    encoding: Encoding,
    /// Bytes of the picture.
    pub(crate) length: u64,
    /// Slot and bytes of the thumbnail.
    pub(crate) thumbnail: Option<(u8, u64)>,
    carried: Vec<CarriedRun>,
}

impl FrameHeader {
    pub(crate) fn of(frame: &DecodedFrame) -> Self {
        let &DecodedFrame { index, number, pts, size, letterbox, color, encoding, .. } = frame;
        let length = frame.pixels.len() as u64;
        let thumbnail =
            frame.thumbnail.as_ref().map(|thumbnail| (thumbnail.slot, thumbnail.jpeg.len() as u64));
        let carried = frame.carried.clone();
        Self { index, number, pts, size, letterbox, color, encoding, length, thumbnail, carried }
    }

    pub(crate) fn into_frame(self, pixels: Vec<u8>, jpeg: Option<Vec<u8>>) -> DecodedFrame {
        let Self { index, number, pts, size, letterbox, color, encoding, .. } = self;
        let Self { thumbnail, carried, .. } = self;
        let thumbnail =
            thumbnail.zip(jpeg).map(|((slot, _), jpeg)| DecodedThumbnail { slot, jpeg });
        DecodedFrame {
            index,
            number,
            pts,
            size,
            letterbox,
            color,
            encoding,
            pixels,
            thumbnail,
            carried,
        }
    }
}

impl From<UndecodableFrame> for Message {
    fn from(frame: UndecodableFrame) -> Self {
        let UndecodableFrame { index, number, reason, carried } = frame;
        Self::Undecodable { index, number, reason, carried }
    }
}

/// A value as CBOR behind its length.
pub(crate) fn encode<T: Serialize>(value: &T) -> io::Result<Vec<u8>> {
    const LENGTH: usize = size_of::<u32>();
    let mut bytes = vec![0; LENGTH];
    ciborium::into_writer(value, &mut bytes).map_err(io::Error::other)?;
    let length = u32::try_from(bytes.len() - LENGTH).map_err(io::Error::other)?;
    bytes[..LENGTH].copy_from_slice(&length.to_le_bytes());
    Ok(bytes)
}

/// The value that CBOR without its length holds.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> io::Result<T> {
    ciborium::from_reader(bytes).map_err(io::Error::other)
}

/// The length in front of a message, if it is one that a message may have.
pub(crate) fn message_length(bytes: [u8; 4]) -> Option<usize> {
    usize::try_from(u32::from_le_bytes(bytes)).ok().filter(|length| *length <= MAX_MESSAGE)
}

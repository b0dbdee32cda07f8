//! Why a file has no frames, in the words of its owner rather than GStreamer's.

use std::fs::File;
use std::io::Read;

use crate::codecs;
use crate::error::{DecodeError, PALETTE};
use crate::file::LocalFile;
use crate::pixels;
use crate::probes::Probes;
use crate::signature;

/// Bytes of a file that tell whether it is a video at all.
const START: u64 = 1024;

/// The error of a file without frames. `codec` is what its container names.
pub(crate) fn without_frames(
    error: DecodeError,
    file: &LocalFile,
    codec: Option<&'static str>,
    probes: &Probes,
) -> DecodeError {
    let video = file.name.clone();
    match error {
        DecodeError::UnknownFormat { .. }
        | DecodeError::NoVideo { .. }
        | DecodeError::MissingPlugin { .. }
        | DecodeError::Damaged { .. }
            if let Some(what) = other_kind(file) =>
        {
            DecodeError::NotAVideo { video, what: what.into() }
        }
        DecodeError::Failed { reason, .. } if reason.ends_with(PALETTE) => {
            let codec = "uncompressed video".to_owned();
            DecodeError::UnsupportedPixels { video, codec, pixels: PALETTE.to_owned() }
        }
        DecodeError::MissingPlugin { what, package, .. } => {
            let what = codec.map_or(what, str::to_owned);
            DecodeError::MissingPlugin { video, what, package }
        }
        DecodeError::Failed { .. } | DecodeError::Damaged { .. } | DecodeError::NoFrames { .. } => {
            unrepresentable(&error, video, codec, probes).unwrap_or(error)
        }
        error => error,
    }
}

fn unrepresentable(
    error: &DecodeError,
    video: String,
    codec: Option<&'static str>,
    probes: &Probes,
) -> Option<DecodeError> {
    let caps = probes.decoded_format()?;
    let refused = match error {
        DecodeError::Failed { reason, .. } | DecodeError::Damaged { reason, .. } => {
            reason == NOT_NEGOTIATED
        }
        _ => false,
    };
    let pixels = pixels::unrepresentable(&caps, refused)?;
    let codec = codec.map(str::to_owned).or_else(|| codecs::name(caps.structure(0)?));
    Some(DecodeError::UnsupportedPixels {
        video,
        codec: codec.unwrap_or_else(|| "a video".to_owned()),
        pixels,
    })
}

/// What elements say when no format suits both of two.
pub(crate) const NOT_NEGOTIATED_DETAIL: &str = "streaming stopped, reason not-negotiated (-4)";
/// The same, for people.
pub(crate) const NOT_NEGOTIATED: &str = "its decoder returns frames in a format that is not known";

/// What a file is that is not a video.
fn other_kind(file: &LocalFile) -> Option<&'static str> {
    let mut start = Vec::new();
    File::open(&file.path).ok()?.take(START).read_to_end(&mut start).ok()?;
    signature::other_kind(&start)
}

//! What is special about decoding an MP4.

use std::fs::File;

use moliceiro_containers::mp4::{self, FlatMovie, Placed};
use moliceiro_containers::{Container, Contents, Fault};
use tracing::debug;

use crate::error::DecodeError;
use crate::file::LocalFile;
use crate::raw_frame::RawFrame;
use crate::tracks;

/// The track as a movie of its own, unless its tables make no sense: then GStreamer reads the file
/// as it is.
pub(crate) fn flat_movie(
    file: &LocalFile,
    contents: Option<&Contents>,
    number: u32,
) -> Option<FlatMovie> {
    contents.filter(|contents| contents.container == Container::Mp4)?;
    File::open(&file.path).and_then(|open| mp4::flatten(&open, number)).unwrap_or_else(|error| {
        debug!(name = file.name, %error, "cannot read the tables");
        None
    })
}

/// Why no frame of this file can be decoded, if that is clear from its container.
pub(crate) fn hopeless(
    file: &LocalFile,
    contents: Option<&Contents>,
    number: u32,
) -> Option<DecodeError> {
    let contents = contents?;
    let track = tracks::find(contents, number);
    let faults = &contents.faults;
    let video = file.name.clone();
    if faults.contains(&Fault::Encrypted) && track.is_some_and(|track| track.is_default) {
        return Some(DecodeError::Encrypted { video });
    }
    if faults.contains(&Fault::NoIndex) {
        return Some(DecodeError::Damaged { video, reason: Fault::NoIndex.to_string() });
    }
    if faults.contains(&Fault::NoTracks) {
        return Some(DecodeError::NoVideo { video });
    }
    let is_empty = contents.container == Container::Mp4
        && faults.is_empty()
        && track.is_some_and(|track| track.frames == Some(0));
    is_empty.then_some(DecodeError::NoFrames { video })
}

/// The frame with its time on the edited timeline; `None` if players do not show it.
pub(crate) fn shown(movie: Option<&FlatMovie>, frame: RawFrame) -> Option<RawFrame> {
    let Some((movie, time)) = movie.zip(frame.pts) else { return Some(frame) };
    match movie.place(time) {
        Placed::Hidden => None,
        Placed::Shown(time) => Some(RawFrame { pts: Some(time), ..frame }),
    }
}

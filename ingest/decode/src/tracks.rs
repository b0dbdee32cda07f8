//! Which video track of a file is decoded.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use moliceiro_containers::{Contents, VideoTrack};

use crate::decoded::Notice;

/// The number of the track to decode, from 1: the requested one, or the first that the container
/// marks, or the first.
pub(crate) fn wanted(requested: Option<u32>, contents: Option<&Contents>) -> u32 {
    let marked =
        || contents?.tracks.iter().find(|track| track.is_default).map(|track| track.number);
    requested.or_else(marked).unwrap_or(1)
}

/// The track with this number.
pub(crate) fn find(contents: &Contents, number: u32) -> Option<&VideoTrack> {
    contents.tracks.iter().find(|track| track.number == number)
}

/// A notice that names the tracks that are not decoded. `seen` is how many the demuxer found.
pub(crate) fn notice(decoded: u32, seen: u32, contents: Option<&Contents>) -> Option<Notice> {
    let known = contents.map_or(0, |contents| contents.tracks.len());
    let tracks = seen.max(u32::try_from(known).unwrap_or(u32::MAX));
    let codec = |number| find(contents?, number)?.codec;
    let others: Vec<_> = (1..=tracks)
        .filter(|number| *number != decoded)
        .map(|number| (number, codec(number).map(Into::into)))
        .collect();
    (!others.is_empty()).then_some(Notice::OtherVideoTracks { decoded, others })
}

/// Counts the video tracks that a demuxer exposes, in the order of the file. Clones share the
/// count.
#[derive(Clone, Debug)]
pub(crate) struct Tracks {
    wanted: u32,
    seen: Arc<AtomicU32>,
}

impl Tracks {
    /// `wanted` is the number of the track to decode, from 1.
    pub(crate) fn new(wanted: u32) -> Self {
        Self { wanted, seen: Arc::default() }
    }

    /// Counts the next video track, and returns whether it is the one to decode.
    pub(crate) fn is_next_wanted(&self) -> bool {
        self.seen.fetch_add(1, Ordering::Relaxed) + 1 == self.wanted
    }

    /// How many video tracks there are so far.
    pub(crate) fn seen(&self) -> u32 {
        self.seen.load(Ordering::Relaxed)
    }
}

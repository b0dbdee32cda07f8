//! MP4, MOV and their relatives: ISO/IEC 14496-12 and Apple's QuickTime File Format.
//!
//! `file` finds the boxes of the top level. `track` reads a track of the movie box, `table` and
//! `fragments` collect its samples, and `edits` decides which of them are shown. `flat` writes the
//! header of an equivalent movie with one plain track.

pub(crate) mod boxes;
mod codec;
mod edits;
mod file;
mod flat;
mod fragments;
mod matrix;
mod samples;
mod table;
mod track;

use std::fs::File;
use std::io;

pub use flat::{FlatMovie, Placed};

use crate::contents::{Container, Contents, Fault, VideoTrack};
use edits::Shown;
use file::Layout;
use track::Track;

/// What an MP4 holds; `None` if the file is not one.
pub(crate) fn inspect(file: &File) -> io::Result<Option<Contents>> {
    let Some(layout) = file::read(file)? else { return Ok(None) };
    let Some(movie) = layout.movie.as_deref() else {
        let faults = vec![Fault::NoIndex];
        return Ok(Some(contents(&layout, Vec::new(), faults)));
    };
    let tracks = track::video_tracks(movie, file, &layout)?;
    let default = track::default_track(&tracks);
    let mut faults = Vec::new();
    if boxes::find(movie, b"trak").is_none() {
        faults.push(Fault::NoTracks);
    }
    let mut described = Vec::with_capacity(tracks.len());
    for (n, track) in tracks.iter().enumerate() {
        let shown = Shown::new(track, layout.movie_timescale);
        if n == default {
            faults.extend(faults_of(track, &shown, &layout));
        }
        described.push(VideoTrack {
            number: u32::try_from(n + 1).unwrap_or(u32::MAX),
            codec: track.codec,
            is_default: n == default,
            frames: shown.as_ref().map(|shown| shown.frames).filter(|_| !track.is_implausible()),
            maybe_hidden: 0,
            is_packed: false,
            start: shown.and_then(|shown| shown.start(track)),
        });
    }
    Ok(Some(contents(&layout, described, faults)))
}

fn contents(layout: &Layout, tracks: Vec<VideoTrack>, faults: Vec<Fault>) -> Contents {
    let (container, length) = (Container::Mp4, layout.length);
    Contents { container, tracks, faults, parts: Vec::new(), length }
}

/// The video track with this number as a movie of its own. `None` if the file is not an MP4, or
/// its tables make no sense.
///
/// # Errors
///
/// The file cannot be read.
pub fn flatten(file: &File, number: u32) -> io::Result<Option<FlatMovie>> {
    let Some(layout) = file::read(file)? else { return Ok(None) };
    let Some(movie) = layout.movie.as_deref() else { return Ok(None) };
    let tracks = track::video_tracks(movie, file, &layout)?;
    let Some(track) = usize::try_from(number).ok().and_then(|n| tracks.get(n.checked_sub(1)?))
    else {
        return Ok(None);
    };
    if track.is_implausible() {
        return Ok(None);
    }
    let shown = Shown::new(track, layout.movie_timescale);
    Ok(shown.and_then(|shown| FlatMovie::new(track, &shown, layout.length)))
}

fn faults_of(track: &Track<'_>, shown: &Option<Shown>, layout: &Layout) -> Vec<Fault> {
    let mut faults = Vec::new();
    if track.is_encrypted {
        faults.push(Fault::Encrypted);
    }
    let missing = track.samples.missing;
    if missing > 0 {
        let frames = shown.as_ref().map_or(0, |shown| shown.frames);
        faults.push(Fault::FramesMissing { missing, expected: frames.saturating_add(missing) });
    } else if let Some(missing) = layout.missing.filter(|_| layout.is_fragmented()) {
        faults.push(Fault::Truncated { missing });
    }
    faults
}

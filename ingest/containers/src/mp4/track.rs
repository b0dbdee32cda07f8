//! The tracks of a movie.

use std::fs::File;
use std::io;

use super::boxes::{boxes, find, find_in, u32_at};
use super::codec;
use super::file::{Layout, timescale};
use super::fragments::{self, Target};
use super::matrix;
use super::samples::Samples;
use super::table;

/// Tracks that are read. Each has boxes of its own, so a file with more is not a film.
const MOST_TRACKS: usize = 64;

/// A video track.
pub(super) struct Track<'a> {
    id: u32,
    is_enabled: bool,
    /// Units per second.
    pub(super) timescale: u32,
    /// Content of its header, with the movie's transformation applied.
    pub(super) header: Vec<u8>,
    /// Content of its sample descriptions.
    pub(super) descriptions: &'a [u8],
    /// The codec of the first one, for people.
    pub(super) codec: Option<&'static str>,
    pub(super) is_encrypted: bool,
    /// Content of its edit list. Fragments have none: ffmpeg and browsers ignore it there.
    pub(super) edit_list: Option<&'a [u8]>,
    pub(super) samples: Samples,
    stbl: &'a [u8],
    is_still: bool,
}

/// Reads the video tracks of a movie, in its order.
pub(super) fn video_tracks<'a>(
    movie: &'a [u8],
    file: &File,
    layout: &Layout,
) -> io::Result<Vec<Track<'a>>> {
    let movie_header = find(movie, b"mvhd").unwrap_or_default();
    let traks = || boxes(movie).filter(|(kind, _)| kind == b"trak").map(|(_, trak)| trak);
    let chapters: Vec<u32> = traks()
        .filter_map(|trak| find_in(trak, &[b"tref", b"chap"]))
        .flat_map(|ids| ids.chunks_exact(4).filter_map(|id| u32_at(id, 0)))
        .take(MOST_TRACKS)
        .collect();
    let mut tracks: Vec<_> = traks()
        .filter_map(|trak| Track::read(trak, movie_header, layout))
        .filter(|track| !chapters.contains(&track.id))
        .take(MOST_TRACKS)
        .collect();
    for track in &mut tracks {
        table::read(track.stbl, &mut track.samples);
        track.is_still &= track.samples.present.len() == 1;
    }
    let mut targets: Vec<_> =
        tracks.iter_mut().map(|track| Target::new(movie, track.id, &mut track.samples)).collect();
    fragments::read(file, layout, &mut targets)?;
    // A cover is not a video beside the film.
    if tracks.iter().any(|track| !track.is_still) {
        tracks.retain(|track| !track.is_still);
    }
    Ok(tracks)
}

/// The position of the track that players show: the first that is enabled.
pub(super) fn default_track(tracks: &[Track<'_>]) -> usize {
    tracks.iter().position(|track| track.is_enabled).unwrap_or(0)
}

impl<'a> Track<'a> {
    fn read(trak: &'a [u8], movie_header: &[u8], layout: &Layout) -> Option<Self> {
        let header = find(trak, b"tkhd")?;
        let media = find(trak, b"mdia")?;
        if find(media, b"hdlr")?.get(8..12)? != b"vide" {
            return None;
        }
        let stbl = find_in(media, &[b"minf", b"stbl"])?;
        let descriptions = find(stbl, b"stsd")?;
        let (kind, description) = boxes(descriptions.get(8..)?).next()?;
        let is_encrypted = [b"encv", b"drmi"].contains(&&kind);
        let original = if is_encrypted { original_format(description) } else { Some(kind) };
        Some(Self {
            id: u32_at(header, if header.first() == Some(&1) { 20 } else { 12 })?,
            is_enabled: header.get(3)? & 1 != 0,
            timescale: find(media, b"mdhd").and_then(timescale).unwrap_or(0).max(1),
            header: matrix::track_header(movie_header, header),
            descriptions,
            codec: original.and_then(|kind| codec::name(kind, description)),
            is_encrypted,
            edit_list: find_in(trak, &[b"edts", b"elst"]).filter(|_| !layout.is_fragmented()),
            samples: Samples::new(layout.length),
            stbl,
            is_still: [b"jpeg", b"png ", b"MJPG"].contains(&&kind),
        })
    }

    /// Whether its tables claim what no film has.
    pub(super) fn is_implausible(&self) -> bool {
        self.samples.is_absurd
    }
}

/// ISO/IEC 14496-12, 8.12.2: what an encrypted track is without its protection.
fn original_format(description: &[u8]) -> Option<[u8; 4]> {
    /// Bytes of a visual sample description before its boxes.
    const FIELDS: usize = 78;
    find_in(description.get(FIELDS..)?, &[b"sinf", b"frma"])?.first_chunk().copied()
}

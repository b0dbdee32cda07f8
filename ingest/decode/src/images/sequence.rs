use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::os::fd::AsRawFd;
use std::path::PathBuf;

use gstreamer as gst;
use moliceiro_containers::picture_tracks;
use rustix::fs::MemfdFlags;

use super::MAX_FILE;
use crate::error::DecodeError;
use crate::file::{LocalFile, unreadable};
use crate::format::FileFormat;

/// A copy of an image sequence (animated AVIF or HEIC) that GStreamer decodes as a video.
///
/// GStreamer 1.22 ignores a track of pictures, which differs from one of video in its name alone.
/// `None` if the file has no such track. The copy exists while the returned file is open.
pub(crate) fn as_video(file: &LocalFile) -> Result<Option<(File, LocalFile)>, DecodeError> {
    let failed = |error| unreadable(&file.name, &error);
    let mut original = File::open(&file.path).map_err(failed)?;
    let tracks = picture_tracks(&mut original).map_err(failed)?;
    if tracks.is_empty() {
        return Ok(None);
    }
    let length = original.metadata().map_err(failed)?.len();
    if length > MAX_FILE {
        let reason = format!("it has {length} bytes; animations may have up to {MAX_FILE}");
        return Err(DecodeError::Damaged { video: file.name.clone(), reason });
    }
    let copied = || -> std::io::Result<File> {
        let mut copy = File::from(rustix::fs::memfd_create("animation", MemfdFlags::CLOEXEC)?);
        original.seek(SeekFrom::Start(0))?;
        std::io::copy(&mut original, &mut copy)?;
        for track in tracks {
            copy.seek(SeekFrom::Start(track))?;
            copy.write_all(b"vide")?;
        }
        Ok(copy)
    };
    let copy = { copied }().map_err(failed)?;
    let path = PathBuf::from(format!("/proc/self/fd/{}", copy.as_raw_fd()));
    let uri = gst::glib::filename_to_uri(&path, None)
        .map_err(|_| DecodeError::NotLocal { uri: file.name.clone() })?;
    let format = FileFormat::Other;
    let video = LocalFile { uri: uri.into(), name: file.name.clone(), path, format };
    Ok(Some((copy, video)))
}

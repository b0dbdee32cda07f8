use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Bytes of an AVI file up to the last field that is read here.
const HEAD: usize = 52;
/// Where the first header of an AVI file ends.
pub(crate) const HEADERS: usize = 88;

/// The duration that the header of an AVI file declares, in nanoseconds; `None` for other files.
///
/// GStreamer returns the duration of the index instead, and in a truncated file it builds the index
/// from the frames that are left. Reproduced by
/// `a_truncated_video_reports_where_it_ends` (`mpeg4.avi`).
pub(crate) fn declared_duration(path: &Path) -> Option<u64> {
    let mut head = [0; HEAD];
    File::open(path).ok()?.read_exact(&mut head).ok()?;
    duration(&head)
}

/// Microsoft, "AVI RIFF File Reference": RIFF size `AVI `, LIST size `hdrl`, `avih` size, then
/// AVIMAINHEADER with dwMicroSecPerFrame first and dwTotalFrames fifth.
fn duration(head: &[u8; HEAD]) -> Option<u64> {
    let tag = |at: usize| head.get(at..at + 4);
    let number = |at: usize| Some(u64::from(u32::from_le_bytes(tag(at)?.try_into().ok()?)));
    let is_avi = tag(0)? == b"RIFF"
        && tag(8)? == b"AVI "
        && tag(12)? == b"LIST"
        && tag(20)? == b"hdrl"
        && tag(24)? == b"avih";
    if !is_avi {
        return None;
    }
    number(32)?.checked_mul(number(48)?)?.checked_mul(1000).filter(|duration| *duration > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(period: u32, frames: u32) -> [u8; HEAD] {
        let mut head = [0; HEAD];
        for (at, tag) in [(0, b"RIFF"), (8, b"AVI "), (12, b"LIST"), (20, b"hdrl"), (24, b"avih")] {
            head[at..at + 4].copy_from_slice(tag);
        }
        head[32..36].copy_from_slice(&period.to_le_bytes());
        head[48..52].copy_from_slice(&frames.to_le_bytes());
        head
    }

    #[test]
    fn the_header_declares_frames_and_their_period() {
        assert_eq!(duration(&head(40_000, 444)), Some(17_760_000_000));
        assert_eq!(duration(&head(40_000, 0)), None);
        assert_eq!(duration(&head(u32::MAX, u32::MAX)), None);
        assert_eq!(duration(&[0; HEAD]), None);
    }
}

//! A part of a file as a GStreamer source.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app::{AppSrc, AppSrcCallbacks, AppStreamType};
use moliceiro_containers::Replacement;
use tracing::warn;

/// What is read at once if the demuxer does not say.
const BLOCK: u32 = 64 << 10;
/// The most that is read at once, whatever a demuxer asks for.
const LARGEST: u32 = 4 << 20;

/// A source that serves these bytes of a file as if they were a file of their own.
///
/// In GStreamer 1.22, `matroskademux` stops at the header of a second file that is appended to the
/// first. Reproduced by `appended_files_are_decoded_one_after_the_other`.
///
/// `replacements` are read instead of what is there.
pub(crate) fn source(
    path: &Path,
    bytes: &Range<u64>,
    replacements: Vec<Replacement>,
) -> io::Result<gst::Element> {
    let file = File::open(path)?;
    let Range { start, end } = *bytes;
    let source = AppSrc::builder()
        .format(gst::Format::Bytes)
        .stream_type(AppStreamType::RandomAccess)
        .build();
    source.set_size(i64::try_from(end - start).unwrap_or(i64::MAX));
    let position = Arc::new(AtomicU64::new(start));
    let callbacks = AppSrcCallbacks::builder()
        .seek_data({
            let position = position.clone();
            move |_, offset| {
                position.store(start.saturating_add(offset).min(end), Ordering::Relaxed);
                true
            }
        })
        .need_data(move |source, length| {
            let at = position.load(Ordering::Relaxed);
            let wanted = if length == u32::MAX { BLOCK } else { length.clamp(1, LARGEST) };
            let wanted = end.saturating_sub(at).min(wanted.into());
            let mut bytes = vec![0; usize::try_from(wanted).unwrap_or(0)];
            match file.read_at(&mut bytes, at) {
                // These fail only while the pipeline stops.
                Ok(0) => _ = source.end_of_stream(),
                Ok(read) => {
                    bytes.truncate(read);
                    replacements.iter().for_each(|new| replace(&mut bytes, at, new));
                    position.store(at + read as u64, Ordering::Relaxed);
                    let mut buffer = gst::Buffer::from_mut_slice(bytes);
                    if let Some(buffer) = buffer.get_mut() {
                        buffer.set_offset(at - start);
                    }
                    _ = source.push_buffer(buffer);
                }
                Err(error) => {
                    warn!(%error, "cannot read a part of a video");
                    _ = source.end_of_stream();
                }
            }
        })
        .build();
    source.set_callbacks(callbacks);
    Ok(source.upcast())
}

/// Replaces what lies in `bytes`, which start at `start` in the file.
fn replace(bytes: &mut [u8], start: u64, replacement: &Replacement) {
    for (at, byte) in (replacement.at..).zip(&replacement.bytes) {
        let offset = at.checked_sub(start).and_then(|offset| usize::try_from(offset).ok());
        if let Some(place) = offset.and_then(|offset| bytes.get_mut(offset)) {
            *place = *byte;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_across_the_ends_of_a_block_is_replaced_in_part() {
        let mut bytes = [0; 4];
        for at in [8, 13, 100, 0] {
            replace(&mut bytes, 10, &Replacement { at, bytes: vec![1, 2, 3] });
        }
        assert_eq!(bytes, [3, 0, 0, 1]);
    }
}

//! Reads pieces, of memory and of a file, as one file: a track of an MP4 as a movie of its own
//! ([`FlatMovie`](moliceiro_containers::mp4::FlatMovie)), or what is left of a damaged AVI.
//!
//! GStreamer 1.22's `qtdemux` skips short tracks, ends early on edit lists with a hidden start, and
//! drops the samples of a movie box when fragments follow. In a flat movie there is nothing of all
//! that. Reproduced by `an_mp4_gives_the_frames_that_a_player_shows`. Its `avidemux` ends at chunks
//! that do not follow each other. Reproduced by `what_is_left_of_a_damaged_avi_is_decoded`.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use gstreamer as gst;
use gstreamer_base::subclass::prelude::*;
use moliceiro_containers::Piece;

/// A source element with the bytes of pieces of a file.
pub(crate) fn element(file: File, pieces: Vec<Piece>) -> gst::Element {
    let source = gst::glib::Object::new::<PieceSource>();
    // The element is new: nobody has set it before.
    source.imp().0.set(Bytes::new(file, pieces)).ok();
    gst::prelude::Cast::upcast(source)
}

#[derive(Debug)]
struct Bytes {
    file: File,
    /// Each with its place among the bytes.
    pieces: Vec<(u64, Piece)>,
    size: u64,
}

impl Bytes {
    fn new(file: File, pieces: Vec<Piece>) -> Self {
        let mut size = 0;
        let place = |piece: Piece| {
            let at = size;
            size += piece.length();
            (at, piece)
        };
        let pieces = pieces.into_iter().map(place).collect();
        Self { file, pieces, size }
    }

    /// Returns how many bytes were read: fewer at the end.
    fn read(&self, at: u64, to: &mut [u8]) -> io::Result<usize> {
        let mut read = 0;
        while read < to.len() {
            let more = self.read_piece(at.saturating_add(read as u64), &mut to[read..])?;
            if more == 0 {
                break;
            }
            read += more;
        }
        Ok(read)
    }

    /// Reads from one piece.
    fn read_piece(&self, at: u64, to: &mut [u8]) -> io::Result<usize> {
        let after = self.pieces.partition_point(|(start, _)| *start <= at);
        let Some((start, piece)) = after.checked_sub(1).and_then(|last| self.pieces.get(last))
        else {
            return Ok(0);
        };
        let left = usize::try_from(piece.length() - (at - start).min(piece.length()));
        let length = left.unwrap_or(usize::MAX).min(to.len());
        let to = &mut to[..length];
        match piece {
            Piece::File(range) => self.file.read_at(to, range.start + (at - start)),
            Piece::Bytes(bytes) => {
                // Within the piece: its length is in memory.
                let from = usize::try_from(at - start).unwrap_or(bytes.len()).min(bytes.len());
                to.copy_from_slice(&bytes[from..from + length]);
                Ok(length)
            }
        }
    }
}

mod imp {
    use std::sync::{LazyLock, OnceLock};

    use gstreamer as gst;
    use gstreamer::glib;
    use gstreamer_base::subclass::prelude::*;

    use super::Bytes;

    #[derive(Debug, Default)]
    pub struct PieceSource(pub(super) OnceLock<Bytes>);

    #[glib::object_subclass]
    impl ObjectSubclass for PieceSource {
        const NAME: &'static str = "MoliceiroPieceSource";
        type Type = super::PieceSource;
        type ParentType = gstreamer_base::BaseSrc;
    }

    impl ObjectImpl for PieceSource {}
    impl GstObjectImpl for PieceSource {}

    impl ElementImpl for PieceSource {
        fn pad_templates() -> &'static [gst::PadTemplate] {
            static TEMPLATES: LazyLock<Vec<gst::PadTemplate>> = LazyLock::new(|| {
                let any = gst::Caps::new_any();
                gst::PadTemplate::new("src", gst::PadDirection::Src, gst::PadPresence::Always, &any)
                    .into_iter()
                    .collect()
            });
            &TEMPLATES
        }
    }

    impl BaseSrcImpl for PieceSource {
        fn is_seekable(&self) -> bool {
            true
        }

        fn size(&self) -> Option<u64> {
            self.0.get().map(|bytes| bytes.size)
        }

        fn fill(
            &self,
            offset: u64,
            _length: u32,
            buffer: &mut gst::BufferRef,
        ) -> Result<gst::FlowSuccess, gst::FlowError> {
            let bytes = self.0.get().ok_or(gst::FlowError::Error)?;
            let read = {
                let mut map = buffer.map_writable().map_err(|_| gst::FlowError::Error)?;
                bytes.read(offset, map.as_mut_slice()).map_err(|error| {
                    gst::element_imp_error!(self, gst::ResourceError::Read, ["{error}"]);
                    gst::FlowError::Error
                })?
            };
            if read == 0 {
                return Err(gst::FlowError::Eos);
            }
            buffer.set_size(read);
            Ok(gst::FlowSuccess::Ok)
        }
    }
}

gst::glib::wrapper! {
    /// A source element with the bytes of pieces.
    pub struct PieceSource(ObjectSubclass<imp::PieceSource>)
        @extends gstreamer_base::BaseSrc, gst::Element, gst::Object;
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn pieces_are_read_one_after_the_other() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"0123456789").unwrap();
        let bytes = |bytes: &[u8]| Piece::Bytes(bytes.to_vec());
        let pieces =
            vec![bytes(b"ab"), bytes(b""), Piece::File(2..5), Piece::File(7..7), bytes(b"c")];
        let source = Bytes::new(file, pieces);
        assert_eq!(source.size, 6);
        for at in 0..8 {
            let mut read = [0; 4];
            let length = source.read(at, &mut read).unwrap();
            let from = usize::try_from(at).unwrap().min(6);
            assert_eq!(&read[..length], &b"ab234c"[from..6.min(from + 4)]);
        }
    }
}

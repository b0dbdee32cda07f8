//! Reads a track of an MP4 as a movie of its own ([`FlatMovie`]).
//!
//! GStreamer 1.22's `qtdemux` skips short tracks, ends early on edit lists with a hidden start, and
//! drops the samples of a movie box when fragments follow. In a flat movie there is nothing of all
//! that. Reproduced by `an_mp4_gives_the_frames_that_a_player_shows`.

use std::fs::File;

use gstreamer as gst;
use gstreamer_base::subclass::prelude::*;
use moliceiro_containers::mp4::FlatMovie;

/// A source element with the bytes of a flat movie.
pub(crate) fn element(file: File, movie: &FlatMovie) -> Result<gst::Element, std::io::Error> {
    let length = file.metadata()?.len();
    let source = gst::glib::Object::new::<FlatSource>();
    // The element is new: nobody has set it before.
    source.imp().0.set(Bytes { header: movie.header().to_vec(), file, length }).ok();
    Ok(gst::prelude::Cast::upcast(source))
}

#[derive(Debug)]
struct Bytes {
    header: Vec<u8>,
    file: File,
    /// Of the file.
    length: u64,
}

impl Bytes {
    fn size(&self) -> u64 {
        (self.header.len() as u64).saturating_add(self.length)
    }

    /// Returns how many bytes were read: fewer at the end.
    fn read(&self, at: u64, to: &mut [u8]) -> std::io::Result<usize> {
        use std::os::unix::fs::FileExt;
        let mut read = 0;
        while read < to.len() {
            let position = at.saturating_add(read as u64);
            let header = usize::try_from(position).ok().and_then(|at| self.header.get(at..));
            let more = match header {
                Some(header) if !header.is_empty() => {
                    let length = header.len().min(to.len() - read);
                    to[read..read + length].copy_from_slice(&header[..length]);
                    length
                }
                _ => self.file.read_at(&mut to[read..], position - self.header.len() as u64)?,
            };
            if more == 0 {
                break;
            }
            read += more;
        }
        Ok(read)
    }
}

mod imp {
    use std::sync::{LazyLock, OnceLock};

    use gstreamer as gst;
    use gstreamer::glib;
    use gstreamer_base::subclass::prelude::*;

    use super::Bytes;

    #[derive(Debug, Default)]
    pub struct FlatSource(pub(super) OnceLock<Bytes>);

    #[glib::object_subclass]
    impl ObjectSubclass for FlatSource {
        const NAME: &'static str = "MoliceiroFlatSource";
        type Type = super::FlatSource;
        type ParentType = gstreamer_base::BaseSrc;
    }

    impl ObjectImpl for FlatSource {}
    impl GstObjectImpl for FlatSource {}

    impl ElementImpl for FlatSource {
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

    impl BaseSrcImpl for FlatSource {
        fn is_seekable(&self) -> bool {
            true
        }

        fn size(&self) -> Option<u64> {
            self.0.get().map(Bytes::size)
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
    /// A source element with the bytes of a flat movie.
    pub struct FlatSource(ObjectSubclass<imp::FlatSource>)
        @extends gstreamer_base::BaseSrc, gst::Element, gst::Object;
}

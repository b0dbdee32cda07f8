use std::fs::File;
use std::io;
use std::ops::Range;

use gstreamer as gst;
use moliceiro_containers::mp4::FlatMovie;
use moliceiro_containers::{OggPages, Piece, Replacement};

use crate::file::LocalFile;
use crate::{obu, ogg, part, piece_source};

/// What GStreamer reads of a file.
#[derive(Clone, Copy)]
pub(crate) enum FileSource<'a> {
    Whole,
    Part(&'a Range<u64>),
    /// Without the parts of a Matroska file that are not needed, which may be damaged.
    WithoutIndex,
    /// What is left of an AVI, one chunk behind the other.
    RepairedAvi,
    /// The frames of a raw AV1 stream.
    Obu,
    /// An Ogg file whose times may be negative, or the last one far behind the others.
    Ogg,
    /// One of the tracks of an MP4.
    Movie(&'a FlatMovie),
}

impl FileSource<'_> {
    /// The element that reads it.
    pub(crate) fn element(self, file: &LocalFile) -> Result<gst::Element, gst::glib::Error> {
        let opened = match self {
            Self::Whole => return whole(file),
            Self::Ogg => match File::open(&file.path).and_then(OggPages::open) {
                Ok(Some(pages)) => Ok(ogg::source(pages)),
                Ok(None) => match ogg_ends(file) {
                    Ok(ends) if ends.is_empty() => return whole(file),
                    Ok(ends) => edited(file, ends),
                    Err(error) => Err(error),
                },
                Err(error) => Err(error),
            },
            Self::Part(bytes) => part::source(&file.path, bytes, Vec::new()),
            Self::WithoutIndex => File::open(&file.path)
                .and_then(|mut open| edited(file, moliceiro_containers::without_index(&mut open)?)),
            Self::RepairedAvi => match repaired_avi(file) {
                Ok(None) => return whole(file),
                Ok(Some(source)) => Ok(source),
                Err(error) => Err(error),
            },
            Self::Obu => obu::source(&file.path),
            Self::Movie(movie) => movie_source(file, movie),
        };
        opened.map_err(|error| {
            gst::glib::Error::new(gst::ResourceError::OpenRead, &error.to_string())
        })
    }
}

/// `None` if nothing is left of it.
fn repaired_avi(file: &LocalFile) -> io::Result<Option<gst::Element>> {
    let mut open = File::open(&file.path)?;
    let pieces = moliceiro_containers::repaired_avi(&mut open)?;
    Ok((!pieces.is_empty()).then(|| piece_source::element(open, pieces)))
}

fn movie_source(file: &LocalFile, movie: &FlatMovie) -> io::Result<gst::Element> {
    let open = File::open(&file.path)?;
    let length = open.metadata()?.len();
    let pieces = vec![Piece::Bytes(movie.header().to_vec()), Piece::File(0..length)];
    Ok(piece_source::element(open, pieces))
}

/// In GStreamer 1.22, `oggdemux` ignores the time of the last page. Reproduced by the corpus
/// (`ogv/theora/variable`).
fn ogg_ends(file: &LocalFile) -> io::Result<Vec<Replacement>> {
    moliceiro_containers::ogg_without_ends(&mut File::open(&file.path)?)
}

/// The file with other bytes in some places.
fn edited(file: &LocalFile, replacements: Vec<Replacement>) -> io::Result<gst::Element> {
    let length = std::fs::metadata(&file.path)?.len();
    part::source(&file.path, &(0..length), replacements)
}

fn whole(file: &LocalFile) -> Result<gst::Element, gst::glib::Error> {
    gst::Element::make_from_uri(gst::URIType::Src, &file.uri, None)
}

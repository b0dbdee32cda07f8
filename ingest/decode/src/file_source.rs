use std::fs::File;
use std::ops::Range;

use gstreamer as gst;
use moliceiro_containers::OggPages;
use moliceiro_containers::mp4::FlatMovie;

use crate::file::LocalFile;
use crate::{flat_source, obu, ogg, part};

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
    /// An Ogg file whose times may be negative.
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
                Ok(None) => return whole(file),
                Err(error) => Err(error),
            },
            Self::Part(bytes) => part::source(&file.path, bytes, Vec::new()),
            Self::WithoutIndex => File::open(&file.path).and_then(|mut open| {
                let hidden = moliceiro_containers::without_index(&mut open)?;
                part::source(&file.path, &(0..open.metadata()?.len()), hidden)
            }),
            Self::RepairedAvi => File::open(&file.path).and_then(|mut open| {
                let repaired = moliceiro_containers::repaired_avi(&mut open)?;
                part::source(&file.path, &(0..open.metadata()?.len()), repaired)
            }),
            Self::Obu => obu::source(&file.path),
            Self::Movie(movie) => {
                File::open(&file.path).and_then(|open| flat_source::element(open, movie))
            }
        };
        opened.map_err(|error| {
            gst::glib::Error::new(gst::ResourceError::OpenRead, &error.to_string())
        })
    }
}

fn whole(file: &LocalFile) -> Result<gst::Element, gst::glib::Error> {
    gst::Element::make_from_uri(gst::URIType::Src, &file.uri, None)
}

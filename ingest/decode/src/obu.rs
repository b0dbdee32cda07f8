//! A raw AV1 stream as a GStreamer source.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app::{AppSrc, AppSrcCallbacks};
use moliceiro_containers::TemporalUnits;
use tracing::warn;

/// A larger unit is not read: no frame within the limits needs as much.
const LARGEST_UNIT: u64 = 256 << 20;

/// A source that delivers the stream frame by frame.
///
/// GStreamer 1.22 does not recognise such a file, or takes it for something else. Reproduced by
/// `a_raw_av1_stream_gives_every_frame`.
pub(crate) fn source(path: &Path) -> io::Result<gst::Element> {
    let file = File::open(path)?;
    let units = Mutex::new(TemporalUnits::new(File::open(path)?)?);
    let caps = gst::Caps::builder("video/x-av1")
        .field("stream-format", "obu-stream")
        .field("alignment", "tu")
        .build();
    let source = AppSrc::builder().format(gst::Format::Time).caps(&caps).build();
    let next = move || -> io::Result<Option<Vec<u8>>> {
        let Some(unit) = units.lock().unwrap_or_else(PoisonError::into_inner).next_unit()? else {
            return Ok(None);
        };
        let length = unit.end - unit.start;
        if length > LARGEST_UNIT {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let mut bytes = vec![0; usize::try_from(length).map_err(io::Error::other)?];
        file.read_exact_at(&mut bytes, unit.start)?;
        Ok(Some(bytes))
    };
    let callbacks = AppSrcCallbacks::builder().need_data(move |source, _| match next() {
        // These fail only while the pipeline stops.
        Ok(Some(bytes)) => _ = source.push_buffer(gst::Buffer::from_mut_slice(bytes)),
        Ok(None) => _ = source.end_of_stream(),
        Err(error) => {
            warn!(%error, "cannot read an AV1 stream");
            _ = source.end_of_stream();
        }
    });
    source.set_callbacks(callbacks.build());
    Ok(source.upcast())
}

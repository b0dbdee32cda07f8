//! An Ogg file as a GStreamer source, with its times put right.

use std::sync::Mutex;
use std::sync::PoisonError;

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app::{AppSrc, AppSrcCallbacks, AppStreamType};
use moliceiro_containers::OggPages;
use tracing::warn;

/// A source that delivers these pages.
///
/// GStreamer 1.22 drops frames with negative times. Reproduced by
/// `a_cut_ogg_file_gives_every_frame`.
pub(crate) fn source(pages: OggPages) -> gst::Element {
    let caps = gst::Caps::new_empty_simple("application/ogg");
    let source = AppSrc::builder()
        .format(gst::Format::Bytes)
        .stream_type(AppStreamType::Stream)
        .caps(&caps)
        .build();
    let pages = Mutex::new(pages);
    let callbacks = AppSrcCallbacks::builder().need_data(move |source, _| {
        match pages.lock().unwrap_or_else(PoisonError::into_inner).next_page() {
            // These fail only while the pipeline stops.
            Ok(Some(page)) => _ = source.push_buffer(gst::Buffer::from_mut_slice(page)),
            Ok(None) => _ = source.end_of_stream(),
            Err(error) => {
                warn!(%error, "cannot read an Ogg file");
                _ = source.end_of_stream();
            }
        }
    });
    source.set_callbacks(callbacks.build());
    source.upcast()
}

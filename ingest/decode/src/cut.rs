use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use gstreamer as gst;
use gstreamer::prelude::*;
use thiserror::Error;
use tracing::warn;
use url::Url;

use crate::elements::{self, build_error, discard, element, is_video, link};
use crate::error::DecodeError;

/// For the whole cut.
const TIMEOUT: gst::ClockTime = gst::ClockTime::from_seconds(60);

#[derive(Debug, Error)]
enum CutError {
    #[error(transparent)]
    Build(#[from] gst::glib::Error),
    #[error("the pipeline has no bus")]
    NoBus,
    #[error(transparent)]
    NotStarted(#[from] gst::StateChangeError),
    #[error("it cannot be cut: {0}")]
    GStreamer(gst::glib::Error),
    #[error("it cannot be cut: it produced nothing within {TIMEOUT}")]
    TimedOut,
}

/// Copies the first `frames` compressed frames of a video to the Matroska file `to`, without
/// decoding them and without sound, and returns how many it copied. Blocks until the file is
/// written. Made for measurements with short videos.
///
/// Fails if the video cannot be read, or if Matroska cannot hold its codec. A video without
/// presentation times (AVI) loses frames: decode the copy, and compare.
pub fn cut(uri: &Url, frames: u32, to: &Path) -> Result<u64, DecodeError> {
    elements::init()?;
    let failed =
        |error: CutError| DecodeError::Failed { video: uri.to_string(), reason: error.to_string() };
    let written = Arc::<AtomicU64>::default();
    let pipeline = build(uri, frames, to, &written).map_err(|error| failed(error.into()))?;
    let outcome = run(&pipeline);
    // After the end of the stream the file is complete; after an error it is not used.
    if pipeline.set_state(gst::State::Null).is_err() {
        warn!("a pipeline does not stop");
    }
    outcome.map(|()| written.load(Relaxed)).map_err(failed)
}

fn run(pipeline: &gst::Pipeline) -> Result<(), CutError> {
    let bus = pipeline.bus().ok_or(CutError::NoBus)?;
    let started = pipeline.set_state(gst::State::Playing);
    let message =
        bus.timed_pop_filtered(TIMEOUT, &[gst::MessageType::Eos, gst::MessageType::Error]);
    match message.as_ref().map(|message| message.view()) {
        Some(gst::MessageView::Eos(_)) => Ok(started.map(drop)?),
        Some(gst::MessageView::Error(error)) => Err(CutError::GStreamer(error.error())),
        _ => Err(CutError::TimedOut),
    }
}

fn build(
    uri: &Url,
    frames: u32,
    to: &Path,
    written: &Arc<AtomicU64>,
) -> Result<gst::Pipeline, gst::glib::Error> {
    let source = gst::Element::make_from_uri(gst::URIType::Src, uri.as_str(), None)?;
    let parser = element("parsebin").build().map_err(build_error)?;
    // `eos-after` drops the frame that it counts as the last one.
    let last = i32::try_from(frames).unwrap_or(i32::MAX).saturating_add(1);
    let limit = element("identity").property("eos-after", last).build().map_err(build_error)?;
    let muxer = element("matroskamux").build().map_err(build_error)?;
    let file = element("filesink").property("location", to).build().map_err(build_error)?;
    let pipeline = gst::Pipeline::new();
    pipeline.add_many([&source, &parser, &limit, &muxer, &file]).map_err(build_error)?;
    source.link(&parser).map_err(build_error)?;
    gst::Element::link_many([&limit, &muxer, &file]).map_err(build_error)?;
    let written = written.clone();
    let count = move |_: &gst::Pad, _: &mut gst::PadProbeInfo<'_>| {
        written.fetch_add(1, Relaxed);
        gst::PadProbeReturn::Ok
    };
    if let Some(output) = limit.static_pad("src") {
        output.add_probe(gst::PadProbeType::BUFFER, count);
    }
    let (bin, video) = (pipeline.downgrade(), limit.downgrade());
    parser.connect_pad_added(move |_, pad| {
        let (Some(pipeline), Some(limit)) = (bin.upgrade(), video.upgrade()) else { return };
        let linked = (is_video(pad) && link(pad, &limit)) || discard(&pipeline, pad).is_ok();
        if !linked {
            gst::element_error!(
                limit,
                gst::StreamError::Format,
                ["cannot link one of its streams"]
            );
        }
    });
    Ok(pipeline)
}

//! Cuts the beginning off a video, without decoding it: for measurements that are to be short.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use gstreamer as gst;
use gstreamer::prelude::*;
use url::Url;

use crate::{DecodeError, init};

const TIMEOUT: gst::ClockTime = gst::ClockTime::from_seconds(60);

/// Writes the first compressed frames of a video to a Matroska file, without sound, and tells how
/// many they are. Blocks until it is written.
///
/// Fails where the video cannot be read, or its compression does not go into Matroska as it is. Of
/// a video without presentation times (AVI), frames get lost on the way: decode it, and compare.
pub fn cut(uri: &Url, frames: u32, to: &Path) -> Result<u64, DecodeError> {
    init()?;
    let failed = |reason: String| DecodeError::Failed { video: uri.to_string(), reason };
    let written = Arc::<AtomicU64>::default();
    let pipeline = build(uri, frames, to, &written).map_err(|error| failed(error.to_string()))?;
    let outcome = run(&pipeline);
    // What is written is complete when its end has come, or else of no use.
    let _ = pipeline.set_state(gst::State::Null);
    outcome.map(|()| written.load(Relaxed)).map_err(failed)
}

fn run(pipeline: &gst::Pipeline) -> Result<(), String> {
    let bus = pipeline.bus().ok_or("the pipeline has no bus")?;
    let started = pipeline.set_state(gst::State::Playing);
    let message =
        bus.timed_pop_filtered(TIMEOUT, &[gst::MessageType::Eos, gst::MessageType::Error]);
    match message.as_ref().map(|message| message.view()) {
        Some(gst::MessageView::Eos(_)) => started.map(drop).map_err(|error| error.to_string()),
        Some(gst::MessageView::Error(error)) => Err(format!("it cannot be cut: {}", error.error())),
        _ => Err("it cannot be cut: nothing comes of it".into()),
    }
}

fn build(
    uri: &Url,
    frames: u32,
    to: &Path,
    written: &Arc<AtomicU64>,
) -> Result<gst::Pipeline, gst::glib::Error> {
    let internal =
        |error: gst::glib::BoolError| gst::glib::Error::new(gst::CoreError::Failed, &error.message);
    let element = gst::ElementFactory::make;
    let source = gst::Element::make_from_uri(gst::URIType::Src, uri.as_str(), None)?;
    let parser = element("parsebin").build().map_err(internal)?;
    // The frame that is counted as the last one is not let through.
    let last = i32::try_from(frames).unwrap_or(i32::MAX).saturating_add(1);
    let limit = element("identity").property("eos-after", last).build().map_err(internal)?;
    let muxer = element("matroskamux").build().map_err(internal)?;
    let file = element("filesink").property("location", to).build().map_err(internal)?;
    let pipeline = gst::Pipeline::new();
    pipeline.add_many([&source, &parser, &limit, &muxer, &file]).map_err(internal)?;
    source.link(&parser).map_err(internal)?;
    gst::Element::link_many([&limit, &muxer, &file]).map_err(internal)?;
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
        let is_video = pad
            .stream()
            .is_some_and(|stream| stream.stream_type().contains(gst::StreamType::VIDEO));
        let input = limit.static_pad("sink").filter(|input| is_video && !input.is_linked());
        let linked = match input {
            Some(input) => pad.link(&input).is_ok(),
            None => discard(&pipeline, pad).is_some(),
        };
        if !linked {
            gst::element_error!(limit, gst::StreamError::Format, ["a stream of it goes nowhere"]);
        }
    });
    Ok(pipeline)
}

fn discard(pipeline: &gst::Pipeline, pad: &gst::Pad) -> Option<()> {
    let sink = gst::ElementFactory::make("fakesink")
        .property("sync", false)
        .property("async", false)
        .build()
        .ok()?;
    pipeline.add(&sink).ok()?;
    sink.sync_state_with_parent().ok()?;
    pad.link(&sink.static_pad("sink")?).ok().map(drop)
}

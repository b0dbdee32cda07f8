use std::sync::Once;

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app::AppSink;
use gstreamer_video::VideoMeta;
use tracing::warn;

use super::error::DecodeError;
use super::file::Kind;
use super::watch::Watch;

/// Every video needs these. The packages are Debian's.
const ELEMENTS: [(&str, &str); 9] = [
    ("filesrc", "libgstreamer1.0-0"),
    ("queue", "libgstreamer1.0-0"),
    ("fakesink", "libgstreamer1.0-0"),
    ("parsebin", "gstreamer1.0-plugins-base"),
    ("decodebin", "gstreamer1.0-plugins-base"),
    ("appsrc", "gstreamer1.0-plugins-base"),
    ("appsink", "gstreamer1.0-plugins-base"),
    ("jpegenc", "gstreamer1.0-plugins-good"),
    ("jpegparse", "gstreamer1.0-plugins-bad"),
];
/// Compressed data that waits for the decoder. One packet may be larger.
const QUEUED_BYTES: u32 = 4 << 20;

pub(super) fn init() -> Result<(), DecodeError> {
    gst::init().map_err(|error| DecodeError::NoGStreamer { reason: error.to_string() })?;
    let missing = ELEMENTS.into_iter().find(|(name, _)| gst::ElementFactory::find(name).is_none());
    if let Some((element, package)) = missing {
        return Err(DecodeError::MissingElement { element, package });
    }
    static OFFLINE: Once = Once::new();
    OFFLINE.call_once(plug_nothing_that_fetches);
    Ok(())
}

/// Playlists and manifests name addresses, and their demuxers open them, whatever may be read: so
/// none is plugged by itself.
fn plug_nothing_that_fetches() {
    let fetches = |feature: &gst::PluginFeature| {
        let class = feature
            .downcast_ref::<gst::ElementFactory>()
            .and_then(|factory| factory.metadata("klass"));
        class.is_some_and(|class| {
            class.contains("Demux") && (class.contains("Adaptive") || class.contains("Network"))
        })
    };
    for feature in gst::Registry::get().features_filtered(fetches, false) {
        feature.set_rank(gst::Rank::NONE);
    }
}

pub(super) fn element(name: &str) -> gst::element_factory::ElementBuilder<'_> {
    gst::ElementFactory::make(name)
}

/// A video on its way from its file to `sink`, its other streams on their way to nowhere.
///
/// `decodebin3` would do the same in one element, but in GStreamer 1.22 it crashes on some files
/// cut short.
pub(super) fn build(
    uri: &str,
    kind: Kind,
    sink: &AppSink,
) -> Result<gst::Pipeline, gst::glib::Error> {
    let internal =
        |error: gst::glib::BoolError| gst::glib::Error::new(gst::CoreError::Failed, &error.message);
    let raw = gst::Caps::new_empty_simple("video/x-raw");
    let source = gst::Element::make_from_uri(gst::URIType::Src, uri, None)?;
    let demuxer = element("parsebin").build().map_err(internal)?;
    let queue = element("queue")
        .property("max-size-bytes", QUEUED_BYTES)
        .property("max-size-buffers", 0u32)
        .property("max-size-time", 0u64);
    let queue = queue.build().map_err(internal)?;
    let decoder = element("decodebin").property("caps", &raw).build().map_err(internal)?;
    let pipeline = gst::Pipeline::new();
    pipeline
        .add_many([&source, &demuxer, &queue, &decoder, sink.upcast_ref()])
        .map_err(internal)?;
    match kind {
        Kind::Jpeg => {
            let parser = element("jpegparse").build().map_err(internal)?;
            pipeline.add(&parser).map_err(internal)?;
            gst::Element::link_many([&source, &parser, &demuxer]).map_err(internal)?;
        }
        Kind::Image(_) | Kind::Other => source.link(&demuxer).map_err(internal)?,
    }
    queue.link(&decoder).map_err(internal)?;
    let bin = pipeline.downgrade();
    demuxer.connect_pad_added(move |_, pad| {
        let linked = if is_video(pad) && link(pad, &queue) {
            Ok(())
        } else {
            bin.upgrade().map_or(Ok(()), |bin| discard(&bin, pad))
        };
        if let Err(error) = linked {
            warn!(%error, pad = %pad.name(), "a stream goes nowhere");
        }
    });
    let output = sink.downgrade();
    decoder.connect_pad_added(move |_, pad| {
        if !output.upgrade().is_some_and(|output| link(pad, output.upcast_ref())) {
            warn!(caps = ?pad.current_caps(), "the decoder's output cannot be used");
        }
    });
    Ok(pipeline)
}

fn is_video(pad: &gst::Pad) -> bool {
    match pad.stream() {
        Some(stream) => stream.stream_type().contains(gst::StreamType::VIDEO),
        None => false,
    }
}

/// Links to an element that has one input, unless that has a stream already.
pub(super) fn link(pad: &gst::Pad, to: &gst::Element) -> bool {
    to.static_pad("sink").is_some_and(|input| !input.is_linked() && pad.link(&input).is_ok())
}

/// Lets a stream flow into nothing: streams that go nowhere at all are errors.
fn discard(pipeline: &gst::Pipeline, pad: &gst::Pad) -> Result<(), gst::glib::BoolError> {
    let sink = element("fakesink")
        .property("sync", false)
        .property("async", false)
        .property("enable-last-sample", false)
        .build()?;
    pipeline.add(&sink)?;
    sink.sync_state_with_parent()?;
    let input =
        sink.static_pad("sink").ok_or_else(|| gst::glib::bool_error!("a fakesink has no input"))?;
    pad.link(&input).map(drop).map_err(|error| gst::glib::bool_error!("{error}"))
}

/// Tells decoders that they may hand over frames with padding, so that they needn't copy each one.
pub(super) fn accept_strides(sink: &AppSink) {
    let Some(pad) = sink.static_pad("sink") else { return };
    pad.add_probe(gst::PadProbeType::QUERY_DOWNSTREAM, |_, info| {
        let Some(query) = info.query_mut() else { return gst::PadProbeReturn::Ok };
        if let gst::QueryViewMut::Allocation(allocation) = query.view_mut() {
            allocation.add_allocation_meta::<VideoMeta>(None);
            return gst::PadProbeReturn::Handled;
        }
        gst::PadProbeReturn::Ok
    });
}

/// Follows the demuxers and decoders that GStreamer plugs.
pub(super) fn watch_elements(pipeline: &gst::Pipeline, watch: &Watch) {
    let watch = watch.clone();
    pipeline.connect_deep_element_added(move |_, _, element| {
        let Some(class) =
            element.factory().and_then(|factory| factory.metadata("klass").map(str::to_owned))
        else {
            return;
        };
        if class.contains("Demux") {
            watch.demuxer(element);
        }
        if class.contains("Parser") {
            element.sink_pads().iter().for_each(hide_container_colors);
        }
        if class.contains("Decoder") {
            // One bad frame is no reason to give up the rest: what is lost is counted.
            if element.has_property("max-errors") {
                element.set_property("max-errors", -1i32);
            }
            watch.decoder(element);
        }
    });
}

/// Lets the streams that say themselves what their colours mean have the say.
///
/// GStreamer 1.22 takes what an MP4 says instead, and takes full range there for limited.
fn hide_container_colors(pad: &gst::Pad) {
    pad.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, |_, info| {
        let Some(gst::EventView::Caps(event)) = info.event().map(|event| event.view()) else {
            return gst::PadProbeReturn::Ok;
        };
        let mut caps = event.caps_owned();
        let says_itself = caps.structure(0).is_some_and(|format| {
            ["video/x-h264", "video/x-h265"].contains(&format.name().as_str())
        });
        if says_itself {
            caps.make_mut().iter_mut().for_each(|format| format.remove_field("colorimetry"));
            info.data = Some(gst::PadProbeData::Event(gst::event::Caps::new(&caps)));
        }
        gst::PadProbeReturn::Ok
    });
}

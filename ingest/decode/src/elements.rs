//! GStreamer elements: which must be installed, and how they are linked.

use std::sync::Once;

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app::AppSink;
use gstreamer_video::VideoMeta;
use tracing::debug;
use tracing::warn;

use crate::error::DecodeError;

/// Elements that every video needs, with the Debian packages that contain them.
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

/// Decoders, each with one of a lower rank that returns frames where the first has no format for
/// them: JPEG 2000 with subsampled chroma. (`libde265dec` is none for HEVC in grey of 10 bits: its
/// output claims to have 8.)
const FALLBACKS: [(&str, &str); 1] = [("openjpegdec", "avdec_jpeg2000")];

pub(crate) fn init() -> Result<(), DecodeError> {
    gst::init().map_err(|error| DecodeError::NoGStreamer { reason: error.to_string() })?;
    let missing = ELEMENTS.into_iter().find(|(name, _)| gst::ElementFactory::find(name).is_none());
    if let Some((element, package)) = missing {
        return Err(DecodeError::MissingElement {
            element: element.into(),
            package: package.into(),
        });
    }
    static OFFLINE: Once = Once::new();
    OFFLINE.call_once(|| {
        log_to_tracing();
        never_plug_fetching_demuxers();
        never_plug_endless_demuxers();
    });
    Ok(())
}

/// GLib would print its own warnings, and those of GStreamer's libraries, to standard error.
fn log_to_tracing() {
    gst::glib::log_set_default_handler(|domain, level, text| {
        debug!(domain, ?level, text, "GStreamer's library");
    });
}

/// Playlists and manifests name addresses, and their demuxers open them without any check. With
/// this rank, GStreamer never plugs one automatically.
fn never_plug_fetching_demuxers() {
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

/// `unsupported` names NUT by its signature. This is for files whose signature is damaged.
fn never_plug_endless_demuxers() {
    if let Some(factory) = gst::ElementFactory::find("avdemux_nut") {
        factory.set_rank(gst::Rank::NONE);
    }
}

/// Decoded video. Some decoders mark buffers that hold one field each with a feature of its own.
pub(crate) fn raw_video() -> gst::Caps {
    gst::Caps::builder_full()
        .structure(gst::Structure::new_empty("video/x-raw"))
        .structure_with_features(
            gst::Structure::new_empty("video/x-raw"),
            gst::CapsFeatures::new(["format:Interlaced"]),
        )
        .build()
}

pub(crate) fn element(name: &str) -> gst::element_factory::ElementBuilder<'_> {
    gst::ElementFactory::make(name)
}

/// The error of a pipeline that cannot be built.
pub(crate) fn build_error(error: gst::glib::BoolError) -> gst::glib::Error {
    gst::glib::Error::new(gst::CoreError::Failed, &error.message)
}

/// A `decodebin` that decodes into `sink`, without the decoders whose names are `excluded`.
pub(crate) fn decoder_into(
    sink: &AppSink,
    excluded: &[String],
) -> Result<gst::Element, gst::glib::BoolError> {
    let decoder = element("decodebin").property("caps", raw_video()).build()?;
    exclude(&decoder, excluded);
    let output = sink.downgrade();
    decoder.connect_pad_added(move |_, pad| {
        if !output.upgrade().is_some_and(|output| link(pad, output.upcast_ref())) {
            warn!(caps = ?pad.current_caps(), "cannot use the decoder's output");
        }
    });
    Ok(decoder)
}

/// Keeps a `decodebin` or `parsebin` from plugging these elements.
pub(crate) fn exclude(bin: &gst::Element, names: &[String]) {
    // Its enumeration is not part of any header: 0 is "try", 2 is "skip".
    let Some(choices) = gst::glib::Type::from_name("GstAutoplugSelectResult")
        .and_then(gst::glib::EnumClass::with_type)
        .filter(|_| !names.is_empty())
    else {
        return;
    };
    let names = names.to_vec();
    bin.connect("autoplug-select", false, move |values| {
        let factory = values.get(3)?.get::<gst::ElementFactory>().ok()?;
        choices.to_value(if names.contains(&factory.name().to_string()) { 2 } else { 0 })
    });
}

/// Whether another installed decoder reads some streams that the decoder `name` refuses.
pub(crate) fn has_fallback(name: &str) -> bool {
    FALLBACKS
        .iter()
        .any(|(decoder, other)| *decoder == name && gst::ElementFactory::find(other).is_some())
}

pub(crate) fn is_video(pad: &gst::Pad) -> bool {
    match pad.stream() {
        Some(stream) => stream.stream_type().contains(gst::StreamType::VIDEO),
        None => false,
    }
}

/// Links to an element with one input. False if that input is taken, or does not accept the pad.
pub(crate) fn link(pad: &gst::Pad, to: &gst::Element) -> bool {
    to.static_pad("sink").is_some_and(|input| !input.is_linked() && pad.link(&input).is_ok())
}

/// Discards a stream: a demuxer reports an error for streams that are not linked at all.
pub(crate) fn discard(
    pipeline: &gst::Pipeline,
    pad: &gst::Pad,
) -> Result<(), gst::glib::BoolError> {
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

/// Lets decoders deliver frames with padded rows, which saves a copy of each frame.
pub(crate) fn accept_strides(sink: &AppSink) {
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

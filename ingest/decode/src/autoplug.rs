//! Observes and adjusts the elements that GStreamer plugs by itself.

use gstreamer as gst;
use gstreamer::prelude::*;
use moliceiro_containers::Description;
use tracing::debug;

use crate::codes;
use crate::frame_times::{self, OfDecoding};
use crate::mpeg_times;
use crate::probes::Probes;

/// Attaches `probes` to demuxers and decoders, and works around what their defaults lose.
/// `description` is that of the track.
pub(crate) fn configure_plugged_elements(
    pipeline: &gst::Pipeline,
    probes: &Probes,
    description: Option<&Description>,
) {
    let probes = probes.clone();
    let description = description.cloned();
    let of_decoding = OfDecoding::default();
    pipeline.connect_deep_element_added(move |_, _, element| {
        let Some(class) =
            element.factory().and_then(|factory| factory.metadata("klass").map(str::to_owned))
        else {
            return;
        };
        if class.contains("Demux") {
            let description = description.clone();
            element.connect_pad_added(move |_, pad| adapt_format(pad, description.as_ref()));
            of_decoding.attach_to_demuxer(element);
            probes.attach_to_demuxer(element);
        }
        if class.contains("Parser") {
            element.sink_pads().iter().for_each(hide_container_colors);
        }
        if class.contains("Decoder") {
            // One bad frame must not end the video: lost frames are counted.
            if element.has_property("max-errors") {
                element.set_property("max-errors", -1i32);
            }
            // Safe formats switch it on again, see `pixels`.
            if element.has_property("direct-rendering") {
                element.set_property("direct-rendering", false);
            }
            mpeg_times::complete(element, &of_decoding);
            probes.filter_key_frames(element);
            frame_times::restore(element, &of_decoding);
            probes.attach_to_decoder(element);
        }
    });
}

/// Rewrites a format that the demuxer does not know. This runs before the element that plugs
/// decoders reads it.
fn adapt_format(pad: &gst::Pad, description: Option<&Description>) {
    let Some(mut caps) = pad.current_caps() else { return };
    let format = caps.make_mut().structure_mut(0);
    if !format.is_some_and(|format| codes::adapt(format, description)) {
        return;
    }
    if let Err(error) = pad.store_sticky_event(&gst::event::Caps::new(&caps)) {
        debug!(%error, %caps, "cannot adapt a format");
    }
}

/// Makes the colours that an H.264 or H.265 stream declares win over those of its container.
///
/// GStreamer 1.22 prefers the container's, and reads full range in an MP4 as limited. Reproduced by
/// `a_colour_is_what_the_stated_matrix_and_range_make_of_it` (`bt601-full.mp4`).
fn hide_container_colors(pad: &gst::Pad) {
    pad.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, |_, info| {
        let Some(gst::EventView::Caps(event)) = info.event().map(|event| event.view()) else {
            return gst::PadProbeReturn::Ok;
        };
        let mut caps = event.caps_owned();
        let declares_colors = caps.structure(0).is_some_and(|format| {
            ["video/x-h264", "video/x-h265"].contains(&format.name().as_str())
        });
        if declares_colors {
            caps.make_mut().iter_mut().for_each(|format| format.remove_field("colorimetry"));
            info.data = Some(gst::PadProbeData::Event(gst::event::Caps::new(&caps)));
        }
        gst::PadProbeReturn::Ok
    });
}

//! Restores the times of frames.

use std::sync::{Arc, Mutex, PoisonError};

use gstreamer as gst;
use gstreamer::prelude::*;

#[derive(Debug, Default)]
struct Times {
    /// Time and length of the last packet.
    packet: (Option<gst::ClockTime>, Option<gst::ClockTime>),
    /// What the decoder said of its last frame.
    frame: Option<gst::ClockTime>,
}

/// Gives a frame that repeats the time of the one before the time of its packet.
///
/// In GStreamer 1.22, libav's decoders that draw each frame over the one before (Cinepak, QuickTime
/// Animation and Graphics, Flash Screen, Microsoft Video 1) return each with the time of the first,
/// unless they write into GStreamer's buffers. They return a frame before they read the next
/// packet. Reproduced by `tables_of_every_kind_give_every_frame` (`rle.mov`).
pub(crate) fn restore(decoder: &gst::Element) {
    let times = Arc::<Mutex<Times>>::default();
    for pad in decoder.sink_pads() {
        let times = times.clone();
        pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
            if let Some(packet) = info.buffer() {
                times.lock().unwrap_or_else(PoisonError::into_inner).packet =
                    (packet.pts(), packet.duration());
            }
            gst::PadProbeReturn::Ok
        });
    }
    for pad in decoder.src_pads() {
        let times = times.clone();
        pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
            let Some(frame) = info.buffer_mut() else { return gst::PadProbeReturn::Ok };
            let mut times = times.lock().unwrap_or_else(PoisonError::into_inner);
            let before = std::mem::replace(&mut times.frame, frame.pts());
            let (start, length) = times.packet;
            if before.is_some() && frame.pts() == before && start > before {
                let frame = frame.make_mut();
                frame.set_pts(start);
                frame.set_duration(length);
            }
            gst::PadProbeReturn::Ok
        });
    }
}

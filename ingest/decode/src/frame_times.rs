//! Restores the times of frames.

use std::sync::{Arc, Mutex, PoisonError};

use gstreamer as gst;
use gstreamer::prelude::*;

/// Decoders that draw each frame over the one before. They return a frame before they read the
/// next packet.
const DRAW_OVER: [&str; 11] = [
    "avdec_cinepak",
    "avdec_qtrle",
    "avdec_smc",
    "avdec_rpza",
    "avdec_msvideo1",
    "avdec_msrle",
    "avdec_flashsv",
    "avdec_flashsv2",
    "avdec_zmbv",
    "avdec_camtasia",
    "avdec_camstudio",
];

#[derive(Debug, Default)]
struct Times {
    /// Time and length of the last packet.
    packet: (Option<gst::ClockTime>, Option<gst::ClockTime>),
    /// What the decoder said of its last frame.
    frame: Option<gst::ClockTime>,
}

/// Gives a frame the time of its packet if the decoder repeats the time of an earlier one.
///
/// In GStreamer 1.22, libav's decoders that draw each frame over the one before return each with
/// the time of the last key frame, or of the first frame, unless they write into GStreamer's
/// buffers. Reproduced by `tables_of_every_kind_give_every_frame` (`rle.mov`), and by the corpus
/// (`avi/cinepak`).
pub(crate) fn restore(decoder: &gst::Element) {
    let times = Arc::<Mutex<Times>>::default();
    let draws_over =
        decoder.factory().is_some_and(|factory| DRAW_OVER.contains(&factory.name().as_str()));
    for pad in decoder.sink_pads() {
        let times = times.clone();
        pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
            if let Some(packet) = info.buffer() {
                // AVI tells the time of showing for key frames only.
                times.lock().unwrap_or_else(PoisonError::into_inner).packet =
                    (packet.pts().or(packet.dts()), packet.duration());
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
            let is_repeated = before.is_some() && frame.pts() == before && start > before;
            if is_repeated || draws_over && start.is_some() {
                let frame = frame.make_mut();
                frame.set_pts(start);
                frame.set_duration(length);
            }
            gst::PadProbeReturn::Ok
        });
    }
}

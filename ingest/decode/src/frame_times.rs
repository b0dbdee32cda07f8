//! Restores the times of frames.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use gstreamer as gst;
use gstreamer::prelude::*;

use crate::picture_order::Order;
use crate::reordering::Reordering;

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

/// Demuxers of containers that say when packets are decoded. GStreamer 1.22 returns these times for
/// those of showing, except in MXF that has both. (Those of Matroska are for Video for Windows.)
const OF_DECODING: [&str; 4] = ["avidemux", "asfdemux", "mxfdemux", "matroskademux"];

/// What a frame carries of its packet: the packet's number.
const NUMBER: &str = "timestamp/x-moliceiro-packet";

/// Whether the container has times of decoding, as far as its demuxer's name shows it.
#[derive(Clone, Debug, Default)]
pub(crate) struct OfDecoding(Arc<AtomicBool>);

impl OfDecoding {
    pub(crate) fn is_known(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Notes which demuxer there is.
    pub(crate) fn attach_to_demuxer(&self, demuxer: &gst::Element) {
        let Some(factory) = demuxer.factory() else { return };
        let name = factory.name();
        self.0.store(OF_DECODING.contains(&name.as_str()), Ordering::Relaxed);
        // Each has one of the two times, or both for key frames.
        if !["avidemux", "asfdemux"].contains(&name.as_str()) {
            return;
        }
        demuxer.connect_pad_added(|_, pad| {
            pad.add_probe(gst::PadProbeType::BUFFER, |_, info| {
                if let Some(packet) = info.buffer_mut() {
                    let time = packet.dts().or(packet.pts());
                    let packet = packet.make_mut();
                    packet.set_pts(time);
                    packet.set_dts(time);
                }
                gst::PadProbeReturn::Ok
            });
        });
    }
}

#[derive(Debug, Default)]
struct Times {
    /// Time and length of the last packet.
    packet: (Option<gst::ClockTime>, Option<gst::ClockTime>),
    /// What the decoder said of its last frame.
    frame: Option<gst::ClockTime>,
    reordering: Reordering,
    /// Whether a packet says when it is shown.
    are_of_showing: bool,
    is_between: bool,
    depth: usize,
}

impl Times {
    /// Numbers a packet that says only when it is decoded.
    fn number(&mut self, pad: &gst::Pad, packet: &mut gst::Buffer) {
        let time = match (packet.pts(), packet.dts()) {
            (pts, Some(dts)) if pts.is_none_or(|pts| pts == dts) => dts,
            (None, None) => return,
            _ => {
                self.are_of_showing = true;
                return;
            }
        };
        if !self.is_between
            && let Some(caps) = pad.current_caps()
            && let Ok(bytes) = packet.map_readable()
        {
            let order = Order::new(&caps);
            self.depth = order.depth();
            self.is_between = order.is_between(&bytes);
        }
        let number = self.reordering.packet(time.nseconds(), self.is_between);
        let number = gst::ClockTime::from_nseconds(number);
        let caps = gst::Caps::new_empty_simple(NUMBER);
        gst::ReferenceTimestampMeta::add(packet.make_mut(), &caps, number, gst::ClockTime::NONE);
    }

    /// When a frame of such a packet is shown.
    fn reordered(&mut self, frame: &gst::BufferRef) -> Option<gst::ClockTime> {
        let numbers = frame.iter_meta::<gst::ReferenceTimestampMeta>();
        let number = numbers
            .filter(|meta| meta.reference().structure(0).is_some_and(|s| s.name() == NUMBER))
            .map(|meta| meta.timestamp().nseconds())
            .next()?;
        self.reordering.frame(number, self.depth).map(gst::ClockTime::from_nseconds)
    }
}

/// Gives a frame the time of its packet if the decoder repeats the time of an earlier one, and the
/// time at which it is shown if packets say only when they are decoded.
///
/// In GStreamer 1.22, libav's decoders that draw each frame over the one before return each with
/// the time of the last key frame, or of the first frame, unless they write into GStreamer's
/// buffers. Reproduced by `tables_of_every_kind_give_every_frame` (`rle.mov`), and by the corpus
/// (`avi/cinepak`).
pub(crate) fn restore(decoder: &gst::Element, of_decoding: &OfDecoding) {
    let times = Arc::<Mutex<Times>>::default();
    let name = decoder.factory().map(|factory| factory.name());
    let is_of_libav = name.as_ref().is_some_and(|name| name.starts_with("avdec_"));
    let draws_over = name.is_some_and(|name| DRAW_OVER.contains(&name.as_str()));
    for pad in decoder.sink_pads() {
        let times = times.clone();
        let of_decoding = of_decoding.clone();
        pad.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
            if let Some(packet) = info.buffer_mut() {
                let mut times = times.lock().unwrap_or_else(PoisonError::into_inner);
                times.packet = (packet.pts().or(packet.dts()), packet.duration());
                if of_decoding.is_known() && !times.are_of_showing {
                    times.number(pad, packet);
                }
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
            // A decoder also repeats a time where the next one would be earlier.
            let reordered = times.reordered(frame).filter(|_| !draws_over);
            if reordered.is_some() {
                frame.make_mut().set_pts(reordered);
            } else if is_of_libav && (is_repeated || draws_over && start.is_some()) {
                let frame = frame.make_mut();
                frame.set_pts(start);
                frame.set_duration(length);
            }
            gst::PadProbeReturn::Ok
        });
    }
}

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use gstreamer as gst;
use gstreamer::prelude::*;
use moliceiro_messages::Size;

/// An 8192 × 8192 frame takes 100 MB, and a decoder keeps up to some twenty of them.
const MAX_PIXELS: u64 = 8192 * 8192;
const MAX_LENGTH: u32 = 32_768;

/// Formats of which a decoder makes exactly one frame of each packet. Others hide frames, or pack
/// several together.
const ONE_FRAME_PER_PACKET: [&str; 3] = ["video/x-h264", "video/x-h265", "image/jpeg"];

/// What passes through the demuxer and the decoder of a video. Written by GStreamer's threads.
#[derive(Clone, Debug, Default)]
pub(super) struct Watch(Arc<Values>);

#[derive(Debug, Default)]
struct Values {
    demuxed: AtomicBool,
    end: AtomicU64,
    packets: AtomicU64,
    uncountable: AtomicBool,
    too_large: OnceLock<Size>,
    demuxers: Mutex<Vec<gst::glib::WeakRef<gst::Element>>>,
}

impl Watch {
    /// Where the container's streams end, sound included, whether they are decoded or not, in
    /// nanoseconds of the video's timeline; none if nothing was demuxed.
    pub(super) fn end(&self) -> Option<u64> {
        self.0.demuxed.load(Ordering::Relaxed).then(|| self.0.end.load(Ordering::Relaxed))
    }

    /// How many frames the decoder was asked for, where each packet is one.
    pub(super) fn packets(&self) -> Option<u64> {
        (!self.0.uncountable.load(Ordering::Relaxed))
            .then(|| self.0.packets.load(Ordering::Relaxed))
    }

    /// The size of the frames that were kept from the decoder.
    pub(super) fn too_large(&self) -> Option<Size> {
        self.0.too_large.get().copied()
    }

    /// Whether a demuxer has stopped reading, and gave nothing.
    ///
    /// In GStreamer 1.22, `parsebin` swallows the error of a demuxer that fails while it is being
    /// plugged.
    pub(super) fn has_given_up(&self) -> bool {
        let demuxers = self.0.demuxers.lock().unwrap_or_else(PoisonError::into_inner);
        !self.0.demuxed.load(Ordering::Relaxed)
            && demuxers
                .iter()
                .filter_map(gst::glib::WeakRef::upgrade)
                .any(|demuxer| is_idle(&demuxer))
    }

    /// Follows what leaves `demuxer`.
    pub(super) fn demuxer(&self, demuxer: &gst::Element) {
        self.0.demuxers.lock().unwrap_or_else(PoisonError::into_inner).push(demuxer.downgrade());
        for pad in demuxer.src_pads() {
            self.demuxed_stream(&pad);
        }
        let watch = self.clone();
        demuxer.connect_pad_added(move |_, pad| {
            if pad.direction() == gst::PadDirection::Src {
                watch.demuxed_stream(pad);
            }
        });
    }

    fn demuxed_stream(&self, pad: &gst::Pad) {
        let watch = self.clone();
        pad.add_probe(
            gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST,
            move |pad, info| {
                for_each_buffer(info, |buffer| watch.reach(pad, buffer));
                gst::PadProbeReturn::Ok
            },
        );
    }

    fn reach(&self, pad: &gst::Pad, buffer: &gst::BufferRef) {
        self.0.demuxed.store(true, Ordering::Relaxed);
        let Some(start) = buffer.pts().or(buffer.dts()) else { return };
        let end = with_segment(pad, |segment| {
            timeline(segment, start.saturating_add(buffer.duration().unwrap_or_default()))
        });
        if let Some(end) = end.flatten() {
            self.0.end.fetch_max(end, Ordering::Relaxed);
        }
    }

    /// Follows what goes into `decoder`, and keeps frames of unreasonable size from it.
    pub(super) fn decoder(&self, decoder: &gst::Element) {
        for pad in decoder.sink_pads() {
            let watch = self.clone();
            pad.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, move |_, info| {
                match info.event().map(|event| event.view()) {
                    Some(gst::EventView::Caps(caps)) => watch.format(caps.caps()),
                    _ => gst::PadProbeReturn::Ok,
                }
            });
            let watch = self.clone();
            pad.add_probe(
                gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST,
                move |pad, info| {
                    for_each_buffer(info, |buffer| {
                        if is_to_be_shown(pad, buffer) {
                            watch.0.packets.fetch_add(1, Ordering::Relaxed);
                        }
                    });
                    gst::PadProbeReturn::Ok
                },
            );
        }
    }

    fn format(&self, caps: &gst::CapsRef) -> gst::PadProbeReturn {
        let Some(format) = caps.structure(0) else { return gst::PadProbeReturn::Ok };
        // The two fields of an interlaced frame may come as two packets.
        let interlaced =
            format.get::<&str>("interlace-mode").is_ok_and(|mode| mode != "progressive");
        if interlaced || !ONE_FRAME_PER_PACKET.contains(&format.name().as_str()) {
            self.0.uncountable.store(true, Ordering::Relaxed);
        }
        let length = |name| format.get::<i32>(name).map_or(0, i32::unsigned_abs);
        let size = Size { width: length("width"), height: length("height") };
        if is_reasonable(size) {
            return gst::PadProbeReturn::Ok;
        }
        let _ = self.0.too_large.set(size);
        // Without caps, the decoder refuses what follows, and that error ends the video.
        gst::PadProbeReturn::Drop
    }
}

/// Whether frames of this size may be decoded.
pub(super) fn is_reasonable(size: Size) -> bool {
    u64::from(size.width) * u64::from(size.height) <= MAX_PIXELS
        && size.width.max(size.height) <= MAX_LENGTH
}

/// Whether a demuxer that reads by itself doesn't.
fn is_idle(demuxer: &gst::Element) -> bool {
    demuxer
        .sink_pads()
        .iter()
        .any(|pad| pad.mode() == gst::PadMode::Pull && pad.task_state() != gst::TaskState::Started)
}

fn for_each_buffer(info: &gst::PadProbeInfo, mut action: impl FnMut(&gst::BufferRef)) {
    match &info.data {
        Some(gst::PadProbeData::Buffer(buffer)) => action(buffer),
        Some(gst::PadProbeData::BufferList(list)) => list.iter().for_each(action),
        _ => {}
    }
}

/// Whether a packet's frame lies in the part of the stream that the container wants to be shown.
/// Decoders drop the others.
fn is_to_be_shown(pad: &gst::Pad, buffer: &gst::BufferRef) -> bool {
    if buffer.flags().contains(gst::BufferFlags::DECODE_ONLY) {
        return false;
    }
    let Some(start) = buffer.pts() else { return true };
    let end = buffer.duration().map(|duration| start.saturating_add(duration));
    with_segment(pad, |segment| segment.clip(start, end).is_some()).unwrap_or(true)
}

fn with_segment<T>(
    pad: &gst::Pad,
    look: impl FnOnce(&gst::FormattedSegment<gst::ClockTime>) -> T,
) -> Option<T> {
    let event = pad.sticky_event::<gst::event::Segment>(0)?;
    event.segment().downcast_ref::<gst::ClockTime>().map(look)
}

/// Where a time of a stream lies on the video's timeline, in nanoseconds; also when it is past the
/// segment's end.
pub(super) fn timeline(
    segment: &gst::FormattedSegment<gst::ClockTime>,
    time: gst::ClockTime,
) -> Option<u64> {
    match segment.to_stream_time_full(time)? {
        gst::Signed::Positive(time) => Some(time.nseconds()),
        gst::Signed::Negative(_) => None,
    }
}

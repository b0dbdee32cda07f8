use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use gstreamer as gst;
use gstreamer::prelude::*;

/// How far the container's streams reach, sound included, whether they are decoded or not.
#[derive(Clone, Debug, Default)]
pub(super) struct Spans(Arc<Values>);

#[derive(Debug, Default)]
struct Values {
    demuxed: AtomicBool,
    end: AtomicU64,
}

impl Spans {
    /// The end of what was demuxed, in nanoseconds of the video's timeline; none if nothing was.
    pub(super) fn end(&self) -> Option<u64> {
        self.0.demuxed.load(Ordering::Relaxed).then(|| self.0.end.load(Ordering::Relaxed))
    }

    /// Follows what leaves `demuxer`.
    pub(super) fn watch(&self, demuxer: &gst::Element) {
        for pad in demuxer.src_pads() {
            self.watch_pad(&pad);
        }
        let spans = self.clone();
        demuxer.connect_pad_added(move |_, pad| {
            if pad.direction() == gst::PadDirection::Src {
                spans.watch_pad(pad);
            }
        });
    }

    fn watch_pad(&self, pad: &gst::Pad) {
        let spans = self.clone();
        pad.add_probe(gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST, move |pad, info| {
            match &info.data {
                Some(gst::PadProbeData::Buffer(buffer)) => spans.reach(pad, buffer),
                Some(gst::PadProbeData::BufferList(list)) => list.iter().for_each(|buffer| spans.reach(pad, buffer)),
                _ => {}
            }
            gst::PadProbeReturn::Ok
        });
    }

    fn reach(&self, pad: &gst::Pad, buffer: &gst::BufferRef) {
        self.0.demuxed.store(true, Ordering::Relaxed);
        let Some(start) = buffer.pts().or(buffer.dts()) else { return };
        let Some(segment) = pad.sticky_event::<gst::event::Segment>(0) else { return };
        let Some(segment) = segment.segment().downcast_ref::<gst::ClockTime>() else { return };
        if let Some(end) = timeline(segment, start.saturating_add(buffer.duration().unwrap_or_default())) {
            self.0.end.fetch_max(end, Ordering::Relaxed);
        }
    }
}

/// Where a time of a stream lies on the video's timeline, in nanoseconds; also when it is past the segment's end.
pub(super) fn timeline(segment: &gst::FormattedSegment<gst::ClockTime>, time: gst::ClockTime) -> Option<u64> {
    match segment.to_stream_time_full(time)? {
        gst::Signed::Positive(time) => Some(time.nseconds()),
        gst::Signed::Negative(_) => None,
    }
}

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use gstreamer as gst;
use gstreamer::prelude::*;
use moliceiro_messages::Size;

use crate::decoded::Notice;
use crate::geometry::Orientation;
use crate::limits::is_within_limits;
use crate::nal::{self, Leading};
use crate::picture_order::{Order, framing};
use crate::pixels;
use crate::sei::{self, Framing};
use crate::timeline::stream_time;

/// Formats with exactly one frame in each packet. Others have hidden frames, or several frames in a
/// packet.
const ONE_FRAME_PER_PACKET: [&str; 3] = ["video/x-h264", "video/x-h265", "image/jpeg"];

/// Formats whose packets say whether their frame needs others: their parsers or containers know.
const WITH_KEY_FRAMES: [&str; 16] = [
    "video/x-h264",
    "video/x-h265",
    "video/x-vp8",
    "video/x-vp9",
    "video/x-av1",
    "video/mpeg",
    "video/x-divx",
    "video/x-xvid",
    "video/x-msmpeg",
    "video/x-h263",
    "video/x-flash-video",
    "video/x-theora",
    "video/x-wmv",
    "video/x-vp6-flash",
    "video/x-vp6",
    "video/x-svq",
];

/// Formats without frames that need others.
const ONLY_KEY_FRAMES: [&str; 9] = [
    "image/",
    "video/x-raw",
    "video/x-prores",
    "video/x-dnxhd",
    "video/x-dv",
    "video/x-huffyuv",
    "video/x-ffv",
    "video/x-cineform",
    "video/x-jpc",
];

/// Frames between two key frames whose times are kept.
const MOST_UNDECODED: usize = 1 << 20;

/// More changes of orientation than this do not fit between a packet and its frame.
const KEPT_ORIENTATIONS: usize = 64;

/// Observes what passes through the demuxer and the decoder of a video. GStreamer's threads write
/// the values, which clones share.
#[derive(Clone, Debug, Default)]
pub(crate) struct Probes(Arc<Observed>);

#[derive(Debug, Default)]
struct Observed {
    has_demuxed: AtomicBool,
    demuxed_end: AtomicU64,
    packets: AtomicU64,
    /// Packets whose pictures are not shown.
    unshown: AtomicU64,
    leading: Mutex<Leading>,
    /// MPEG-1 and MPEG-2: how many pictures need no later one, and how many that do come before the
    /// second of them.
    references: AtomicU64,
    maybe_unshown: AtomicU64,
    order: Mutex<Option<Order>>,
    is_uncountable: AtomicBool,
    is_interlaced: AtomicBool,
    too_large: OnceLock<Size>,
    decoder: Mutex<Option<String>>,
    /// What the decoder received last.
    decoded_format: Mutex<Option<gst::Caps>>,
    framing: Mutex<Option<Framing>>,
    orientations: Mutex<Vec<(Option<gst::ClockTime>, Orientation)>>,
    demuxers: Mutex<Vec<gst::glib::WeakRef<gst::Element>>>,
    /// Whether the decoder receives key frames only.
    key_frames: bool,
    has_undecoded: AtomicBool,
    /// Packets that came to the filter of key frames.
    filtered: AtomicU64,
    /// The last of them that had a time, with its number.
    last_timed: Mutex<Option<(gst::ClockTime, u64)>>,
    /// Start and length of frames that the decoder did not receive, in decode order.
    undecoded: Mutex<Vec<(Option<u64>, Option<u64>)>>,
}

impl Probes {
    /// With `key_frames`, packets that are not key frames are kept from the decoder.
    pub(crate) fn new(key_frames: bool) -> Self {
        Self(Arc::new(Observed { key_frames, ..Observed::default() }))
    }

    /// The frames that were kept from the decoder and are shown before a time, or all of them, each
    /// with its start and length. Each is returned once.
    pub(crate) fn take_undecoded(&self, before: Option<u64>) -> Vec<(Option<u64>, Option<u64>)> {
        let mut undecoded = lock(&self.0.undecoded);
        let is_before =
            |start: Option<u64>| before.is_none_or(|end| start.is_none_or(|start| start < end));
        let (mut taken, rest): (Vec<_>, Vec<_>) =
            undecoded.drain(..).partition(|(start, _)| is_before(*start));
        *undecoded = rest;
        taken.sort_unstable();
        taken
    }

    /// Forgets frames that are shown before the first key frame: they cannot be decoded anyway.
    pub(crate) fn forget_undecoded(&self, before: u64) {
        lock(&self.0.undecoded).retain(|(start, _)| start.is_none_or(|start| start >= before));
    }

    /// What to say if only key frames are wanted, and packets do not say whether they are.
    pub(crate) fn unknown_key_frames(&self) -> Option<Notice> {
        let is_known = !self.0.key_frames || self.0.has_undecoded.load(Ordering::Relaxed);
        let format = self.decoded_format().filter(|_| !is_known)?;
        let name = format.structure(0)?.name().as_str();
        let is_any = |of: &[&str]| of.iter().any(|known| name.starts_with(known));
        (!is_any(&WITH_KEY_FRAMES) && !is_any(&ONLY_KEY_FRAMES))
            .then(|| Notice::UnknownKeyFrames { format: name.to_owned() })
    }

    /// Where the container's streams end, sound included, whether they are decoded or not, in
    /// nanoseconds of the container's timeline; `None` if nothing was demuxed.
    pub(crate) fn demuxed_end(&self) -> Option<u64> {
        let has_demuxed = self.0.has_demuxed.load(Ordering::Relaxed);
        has_demuxed.then(|| self.0.demuxed_end.load(Ordering::Relaxed))
    }

    /// How many packets the decoder received, if each of them is one frame.
    pub(crate) fn packets(&self) -> Option<u64> {
        (!self.0.is_uncountable.load(Ordering::Relaxed))
            .then(|| self.0.packets.load(Ordering::Relaxed))
    }

    /// How many packets hold a picture that no player shows, because it needs pictures from before
    /// the first one.
    pub(crate) fn unshown(&self) -> u64 {
        self.0.unshown.load(Ordering::Relaxed)
    }

    /// How many packets of MPEG-1 and MPEG-2 hold a picture that is shown only if it needs none from
    /// before the first one.
    pub(crate) fn maybe_unshown(&self) -> u64 {
        self.0.maybe_unshown.load(Ordering::Relaxed)
    }

    /// Whether the decoder's input is declared as interlaced.
    pub(crate) fn is_interlaced(&self) -> bool {
        self.0.is_interlaced.load(Ordering::Relaxed)
    }

    /// The size of frames that were kept from the decoder because they exceed the limits.
    pub(crate) fn too_large(&self) -> Option<Size> {
        self.0.too_large.get().copied()
    }

    /// The name of the decoder that was plugged last.
    pub(crate) fn decoder(&self) -> Option<String> {
        lock(&self.0.decoder).clone()
    }

    /// The format of the packets that the decoder received last.
    pub(crate) fn decoded_format(&self) -> Option<gst::Caps> {
        lock(&self.0.decoded_format).clone()
    }

    /// How the stream itself says that a frame is to be turned.
    pub(crate) fn orientation_at(&self, pts: Option<gst::ClockTime>) -> Option<Orientation> {
        let orientations = lock(&self.0.orientations);
        let set = orientations.iter().rev().find(|(from, _)| pts.is_none() || *from <= pts);
        set.or(orientations.first()).map(|(_, orientation)| *orientation)
    }

    /// Whether a demuxer has stopped reading without any output.
    ///
    /// In GStreamer 1.22, `parsebin` discards the error of a demuxer that fails while it is being
    /// plugged. It depends on timing: no test reproduces it reliably.
    pub(crate) fn demuxer_gave_up(&self) -> bool {
        let demuxers = lock(&self.0.demuxers);
        !self.0.has_demuxed.load(Ordering::Relaxed)
            && demuxers
                .iter()
                .filter_map(gst::glib::WeakRef::upgrade)
                .any(|demuxer| is_idle(&demuxer))
    }

    /// Observes what leaves `demuxer`.
    pub(crate) fn attach_to_demuxer(&self, demuxer: &gst::Element) {
        lock(&self.0.demuxers).push(demuxer.downgrade());
        for pad in demuxer.src_pads() {
            self.attach_to_demuxed_stream(&pad);
        }
        let probes = self.clone();
        demuxer.connect_pad_added(move |_, pad| {
            if pad.direction() == gst::PadDirection::Src {
                probes.attach_to_demuxed_stream(pad);
            }
        });
    }

    fn attach_to_demuxed_stream(&self, pad: &gst::Pad) {
        let probes = self.clone();
        pad.add_probe(
            gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST,
            move |pad, info| {
                for_each_buffer(info, |buffer| probes.record_end(pad, buffer));
                gst::PadProbeReturn::Ok
            },
        );
    }

    fn record_end(&self, pad: &gst::Pad, buffer: &gst::BufferRef) {
        self.0.has_demuxed.store(true, Ordering::Relaxed);
        let Some(start) = buffer.pts().or(buffer.dts()) else { return };
        let end = start.saturating_add(buffer.duration().unwrap_or_default());
        // A container whose times begin late may declare its last time as its duration, or the
        // difference to its first one.
        let shown = with_segment(pad, |segment| stream_time(segment, end)).flatten();
        let end = shown.unwrap_or_default().max(end.nseconds());
        self.0.demuxed_end.fetch_max(end, Ordering::Relaxed);
    }

    /// If only key frames are wanted, keeps the others from `decoder`, and counts them. Call it before
    /// anything else observes what enters the decoder.
    pub(crate) fn filter_key_frames(&self, decoder: &gst::Element) {
        if !self.0.key_frames {
            return;
        }
        for pad in decoder.sink_pads() {
            let probes = self.clone();
            pad.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
                let Some(packet) = info.buffer_mut() else { return gst::PadProbeReturn::Ok };
                if is_theora_header(pad, packet) {
                    return gst::PadProbeReturn::Ok;
                }
                let number = probes.0.filtered.fetch_add(1, Ordering::Relaxed);
                // A raw stream has no times, and its decoder counts the frames that it gets. Some
                // packets of a program stream have none either.
                let mut last_timed = lock(&probes.0.last_timed);
                if let Some(pts) = packet.pts() {
                    *last_timed = Some((pts, number));
                } else if let Some(period) = packet.duration().or_else(|| frame_period(pad)) {
                    let (last, at) = last_timed.unwrap_or_default();
                    let since = period.checked_mul(number.saturating_sub(at));
                    packet.make_mut().set_pts(since.and_then(|since| last.checked_add(since)));
                }
                drop(last_timed);
                if !packet.flags().contains(gst::BufferFlags::DELTA_UNIT) {
                    return gst::PadProbeReturn::Ok;
                }
                if is_presented(pad, packet) {
                    probes.count(packet);
                    probes.leave_out(pad, packet);
                }
                gst::PadProbeReturn::Drop
            });
        }
    }

    /// Observes what enters `decoder`, and keeps frames that exceed the limits from it.
    pub(crate) fn attach_to_decoder(&self, decoder: &gst::Element) {
        *lock(&self.0.decoder) = decoder.factory().map(|factory| factory.name().to_string());
        for pad in decoder.sink_pads() {
            let probes = self.clone();
            pad.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, move |pad, info| {
                match info.event().map(|event| event.view()) {
                    Some(gst::EventView::Caps(caps)) => {
                        if let Some(decoder) = pad.parent_element() {
                            pixels::adjust_direct_rendering(&decoder, caps.caps());
                        }
                        *lock(&probes.0.decoded_format) = Some(caps.caps_owned());
                        *lock(&probes.0.framing) = framing(caps.caps());
                        *lock(&probes.0.order) = Order::of_mpeg(caps.caps());
                        probes.check_format(caps.caps())
                    }
                    _ => gst::PadProbeReturn::Ok,
                }
            });
            let probes = self.clone();
            pad.add_probe(
                gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST,
                move |pad, info| {
                    for_each_buffer(info, |buffer| {
                        if is_presented(pad, buffer) {
                            probes.count(buffer);
                        }
                        probes.read_orientation(buffer);
                    });
                    gst::PadProbeReturn::Ok
                },
            );
        }
    }

    fn count(&self, packet: &gst::BufferRef) {
        if self.0.references.load(Ordering::Relaxed) < 2
            && let Some(order) = *lock(&self.0.order)
            && let Ok(bytes) = packet.map_readable()
        {
            let is_between = order.is_between(&bytes);
            let count = if is_between { &self.0.maybe_unshown } else { &self.0.references };
            count.fetch_add(1, Ordering::Relaxed);
        }
        let framing = *lock(&self.0.framing);
        let picture = framing.zip(packet.map_readable().ok()).map(|(framing, bytes)| {
            let picture = nal::picture(&bytes, framing);
            (picture.is_some(), lock(&self.0.leading).is_unshown(picture))
        });
        match picture {
            // Parameters, or what ends a stream.
            Some((false, _)) => {}
            Some((true, true)) => {
                self.0.unshown.fetch_add(1, Ordering::Relaxed);
            }
            Some((true, false)) | None => {
                self.0.packets.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    fn leave_out(&self, pad: &gst::Pad, packet: &gst::BufferRef) {
        self.0.has_undecoded.store(true, Ordering::Relaxed);
        let start = packet.pts().and_then(|pts| {
            with_segment(pad, |segment| stream_time(segment, pts)).unwrap_or(Some(pts.nseconds()))
        });
        let mut undecoded = lock(&self.0.undecoded);
        if undecoded.len() < MOST_UNDECODED {
            undecoded.push((start, packet.duration().map(gst::ClockTime::nseconds)));
        }
    }

    fn read_orientation(&self, packet: &gst::BufferRef) {
        let Some(framing) = *lock(&self.0.framing) else { return };
        let Some(found) =
            packet.map_readable().ok().and_then(|bytes| sei::orientation(&bytes, framing))
        else {
            return;
        };
        let mut orientations = lock(&self.0.orientations);
        if orientations.last().is_none_or(|(_, last)| *last != found) {
            if orientations.len() >= KEPT_ORIENTATIONS {
                orientations.remove(0);
            }
            orientations.push((packet.pts(), found));
        }
    }

    fn check_format(&self, caps: &gst::CapsRef) -> gst::PadProbeReturn {
        let Some(format) = caps.structure(0) else { return gst::PadProbeReturn::Ok };
        // The two fields of an interlaced frame may come as two packets.
        let interlaced =
            format.get::<&str>("interlace-mode").is_ok_and(|mode| mode != "progressive");
        if interlaced {
            self.0.is_interlaced.store(true, Ordering::Relaxed);
        }
        if interlaced || !ONE_FRAME_PER_PACKET.contains(&format.name().as_str()) {
            self.0.is_uncountable.store(true, Ordering::Relaxed);
        }
        // Decoders of GStreamer 1.22 crash on some of them. Reproduced by
        // `a_pixel_format_that_gstreamer_does_not_know_is_an_error` (grey of 12 bits).
        if !pixels::may_be_representable(caps) {
            return gst::PadProbeReturn::Drop;
        }
        let length = |name| format.get::<i32>(name).map_or(0, i32::unsigned_abs);
        let size = Size { width: length("width"), height: length("height") };
        if is_within_limits(size) {
            return gst::PadProbeReturn::Ok;
        }
        self.0.too_large.get_or_init(|| size);
        // Without caps, the decoder rejects the packets that follow, and that error ends the video.
        gst::PadProbeReturn::Drop
    }
}

/// Whether a demuxer that pulls its input has stopped doing so.
fn is_idle(demuxer: &gst::Element) -> bool {
    demuxer
        .sink_pads()
        .iter()
        .any(|pad| pad.mode() == gst::PadMode::Pull && pad.task_state() != gst::TaskState::Started)
}

fn lock<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}

fn for_each_buffer(info: &gst::PadProbeInfo, mut action: impl FnMut(&gst::BufferRef)) {
    match &info.data {
        Some(gst::PadProbeData::Buffer(buffer)) => action(buffer),
        Some(gst::PadProbeData::BufferList(list)) => list.iter().for_each(action),
        _ => {}
    }
}

/// Whether a packet's frame lies in the part of the stream that the container presents. Decoders
/// drop the others.
fn is_presented(pad: &gst::Pad, buffer: &gst::BufferRef) -> bool {
    if buffer.flags().contains(gst::BufferFlags::DECODE_ONLY) {
        return false;
    }
    let Some(start) = buffer.pts() else { return true };
    let end = buffer.duration().map(|duration| start.saturating_add(duration));
    with_segment(pad, |segment| segment.clip(start, end).is_some()).unwrap_or(true)
}

/// A header of Theora is a packet of its own, which begins with a set bit.
fn is_theora_header(pad: &gst::Pad, packet: &gst::BufferRef) -> bool {
    let is_theora = pad.current_caps().is_some_and(|caps| {
        caps.structure(0).is_some_and(|format| format.name() == "video/x-theora")
    });
    is_theora
        && packet.map_readable().is_ok_and(|bytes| bytes.first().is_some_and(|b| b & 0x80 > 0))
}

fn frame_period(pad: &gst::Pad) -> Option<gst::ClockTime> {
    let caps = pad.current_caps()?;
    let rate = caps.structure(0)?.get::<gst::Fraction>("framerate").ok()?;
    let (frames, seconds) = (u64::try_from(rate.numer()).ok()?, u64::try_from(rate.denom()).ok()?);
    gst::ClockTime::SECOND.mul_div_floor(seconds, frames.max(1))
}

fn with_segment<T>(
    pad: &gst::Pad,
    read: impl FnOnce(&gst::FormattedSegment<gst::ClockTime>) -> T,
) -> Option<T> {
    let event = pad.sticky_event::<gst::event::Segment>(0)?;
    event.segment().downcast_ref::<gst::ClockTime>().map(read)
}

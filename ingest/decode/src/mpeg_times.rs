//! Gives pictures of MPEG-1 and MPEG-2 the times that their packets lack.
//!
//! In a program stream, few pictures have a time of their own, and in a raw stream none has. The
//! others follow from the rate, and from the order of decoding (ISO/IEC 13818-1, 2.4.2.4): a
//! picture that may lie between others is shown when it is decoded, and another one when the next
//! such one is decoded.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gstreamer as gst;
use gstreamer::prelude::*;

use crate::frame_times::OfDecoding;

/// Pictures whose frames have not come yet, at most.
const MOST_PENDING: usize = 256;
/// What a frame carries of its packet: the packet's number.
const NUMBER: &str = "timestamp/x-moliceiro-picture";
const SECOND: u64 = 1_000_000_000;

const PICTURE: u8 = 0;
const SLICES: RangeInclusive<u8> = 0x01..=0xaf;
const SEQUENCE: u8 = 0xb3;
const EXTENSION: u8 = 0xb5;

/// What the last headers say (ISO/IEC 13818-2, 6.2).
#[derive(Clone, Copy, Debug, Default)]
struct Sequence {
    /// Pictures in a second: a fraction.
    rate: Option<(u32, u32)>,
    is_progressive: bool,
    /// Each picture is shown when it is decoded.
    has_low_delay: bool,
    is_extended: bool,
}

#[derive(Clone, Copy, Debug)]
struct Picture {
    is_between: bool,
    /// How long it is shown, in halves of the usual time.
    halves: u64,
    is_field: bool,
}

#[derive(Debug, Default)]
struct Times {
    sequence: Sequence,
    pictures: u64,
    /// When the next picture is decoded.
    next: Option<u64>,
    /// The last picture that others may need: its number, how long it is shown, and whether it has
    /// a time.
    reference: Option<(u64, u64, bool)>,
    /// When pictures are shown whose frames have not come yet.
    shown: BTreeMap<u64, u64>,
    /// Whether a packet had no time.
    are_needed: bool,
    /// Whether there are packets with half a frame, which is not decoded by itself.
    has_fields: bool,
}

/// When a picture is shown, and how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shown {
    number: u64,
    at: u64,
    length: u64,
}

impl Sequence {
    /// Reads the headers at the start of a packet, up to its picture.
    fn read(&mut self, packet: &[u8]) -> Option<Picture> {
        let mut picture = None;
        let mut at = 0;
        while let Some(found) = packet.get(at..)?.windows(4).position(|code| code[..3] == [0, 0, 1])
        {
            let unit = packet.get(at + found + 3..)?;
            at += found + 4;
            match *unit {
                [PICTURE, _, kind, ..] => {
                    let is_between = kind >> 3 & 7 == 3;
                    picture = Some(Picture { is_between, halves: 2, is_field: false });
                }
                [SEQUENCE, _, _, _, rate, ..] => {
                    let rate = rate_of(rate & 0x0f);
                    *self = Self { rate, is_progressive: true, ..Self::default() };
                }
                // 6.2.2.3
                [EXTENSION, kind, profile, _, _, _, rate, ..] if kind >> 4 == 1 => {
                    self.is_progressive = profile & 8 != 0;
                    self.has_low_delay = rate & 0x80 != 0;
                    let (more, less) = (u32::from(rate >> 5 & 3) + 1, u32::from(rate & 31) + 1);
                    if !self.is_extended {
                        self.rate = self.rate.map(|(rate, unit)| (rate * more, unit * less));
                    }
                    self.is_extended = true;
                }
                // 6.2.3.1
                [EXTENSION, kind, _, structure, flags, ..] if kind >> 4 == 8 => {
                    let picture = picture.as_mut()?;
                    picture.is_field = structure & 3 != 3;
                    let (is_top_first, repeats) = (flags & 0x80 != 0, flags & 2 != 0);
                    picture.halves = match (repeats, self.is_progressive, is_top_first) {
                        (false, ..) => 2,
                        (true, false, _) => 3,
                        (true, true, false) => 4,
                        (true, true, true) => 6,
                    };
                }
                [code, ..] if SLICES.contains(&code) => break,
                _ => {}
            }
        }
        picture
    }

    fn halves(&self, halves: u64) -> Option<u64> {
        let (rate, unit) = self.rate?;
        Some(halves * u64::from(unit) * SECOND / 2 / u64::from(rate))
    }
}

/// Table 6-4.
fn rate_of(code: u8) -> Option<(u32, u32)> {
    let rates = [
        (24_000, 1001),
        (24, 1),
        (25, 1),
        (30_000, 1001),
        (30, 1),
        (50, 1),
        (60_000, 1001),
        (60, 1),
    ];
    rates.get(usize::from(code).checked_sub(1)?).copied()
}

impl Times {
    /// Adds a packet; `None` if nothing is known of its picture.
    fn packet(&mut self, packet: &[u8], pts: Option<u64>, dts: Option<u64>) -> Option<Shown> {
        let picture = self.sequence.read(packet)?;
        self.has_fields |= picture.is_field;
        self.are_needed |= pts.is_none();
        let own = self.sequence.halves(picture.halves)?;
        let number = self.pictures;
        self.pictures += 1;
        let is_immediate = picture.is_between || self.sequence.has_low_delay;
        // Without a time of showing, that of decoding was estimated by GStreamer. Where they are
        // the same, the one of decoding may be missing.
        let known = pts.and_then(|pts| dts.filter(|dts| is_immediate || *dts < pts));
        let earlier = if is_immediate { 0 } else { own };
        let first = || pts.map(|pts| pts.saturating_sub(earlier));
        let decoded = known.or(self.next).or_else(first).unwrap_or_default();
        let mut slot = own;
        if !is_immediate
            && let Some((before, length, has_time)) =
                self.reference.replace((number, own, pts.is_some()))
        {
            slot = length;
            if !has_time && let Some(shown) = self.shown.get_mut(&before) {
                *shown = decoded;
            }
        }
        let next = decoded.saturating_add(slot);
        self.next = Some(next);
        // The last one is shown behind those that lie before it.
        if is_immediate
            && let Some((before, _, false)) = self.reference
            && let Some(shown) = self.shown.get_mut(&before)
        {
            *shown = next;
        }
        let later = if is_immediate { 0 } else { slot };
        let at = pts.unwrap_or(decoded.saturating_add(later));
        self.shown.insert(number, at);
        if self.shown.len() > MOST_PENDING {
            self.shown.pop_first();
        }
        (!self.has_fields).then_some(Shown { number, at, length: own })
    }

    /// When the frame of a packet is shown.
    fn frame(&mut self, number: u64) -> Option<u64> {
        let shown = self.shown.remove(&number);
        shown.filter(|_| self.are_needed && !self.has_fields)
    }
}

/// Gives frames their times, unless the container's are those of decoding, and the format its rate.
/// Call it before anything else observes what enters the decoder.
///
/// GStreamer 1.22's `mpegvideoparse` reads two of the five bits of the denominator by which MPEG-2
/// makes rates such as 15 and 10 frames a second. Reproduced by
/// `rates_that_mpeg2_makes_of_others_are_right`.
pub(crate) fn complete(decoder: &gst::Element, of_decoding: &OfDecoding) {
    let times = Arc::<Mutex<Times>>::default();
    for pad in decoder.sink_pads() {
        pad.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, |_, info| {
            if let Some(gst::EventView::Caps(event)) = info.event().map(|event| event.view())
                && let Some(caps) = with_rate(event.caps())
            {
                info.data = Some(gst::PadProbeData::Event(gst::event::Caps::new(&caps)));
            }
            gst::PadProbeReturn::Ok
        });
        let (times, of_decoding) = (times.clone(), of_decoding.clone());
        pad.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
            if let Some(packet) = info.buffer_mut()
                && !of_decoding.is_known()
                && pad.current_caps().is_some_and(|caps| is_mpeg(&caps))
            {
                number(&mut lock(&times), packet);
            }
            gst::PadProbeReturn::Ok
        });
    }
    for pad in decoder.src_pads() {
        let times = times.clone();
        pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
            let Some(frame) = info.buffer_mut() else { return gst::PadProbeReturn::Ok };
            let metas = frame.iter_meta::<gst::ReferenceTimestampMeta>();
            let mut numbers = metas
                .filter(|meta| meta.reference().structure(0).is_some_and(|s| s.name() == NUMBER))
                .map(|meta| meta.timestamp().nseconds());
            let number = numbers.next();
            if let Some(shown) = number.and_then(|number| lock(&times).frame(number)) {
                frame.make_mut().set_pts(gst::ClockTime::from_nseconds(shown));
            }
            gst::PadProbeReturn::Ok
        });
    }
}

/// Numbers a packet, and gives it the time that it lacks, as far as it is known by now.
fn number(times: &mut Times, packet: &mut gst::Buffer) {
    let (pts, dts) = (packet.pts(), packet.dts());
    let time = |time: Option<gst::ClockTime>| time.map(gst::ClockTime::nseconds);
    let shown =
        packet.map_readable().ok().and_then(|bytes| times.packet(&bytes, time(pts), time(dts)));
    let Some(Shown { number, at, length }) = shown else { return };
    let packet = packet.make_mut();
    if pts.is_none() {
        packet.set_pts(gst::ClockTime::from_nseconds(at));
        packet.set_duration(gst::ClockTime::from_nseconds(length));
    }
    let (caps, number) =
        (gst::Caps::new_empty_simple(NUMBER), gst::ClockTime::from_nseconds(number));
    gst::ReferenceTimestampMeta::add(packet, &caps, number, gst::ClockTime::NONE);
}

/// The format with the rate that its headers say; `None` if it has that.
fn with_rate(caps: &gst::CapsRef) -> Option<gst::Caps> {
    let headers = caps.structure(0)?.get::<gst::Buffer>("codec_data").ok()?;
    let mut sequence = Sequence::default();
    if !is_mpeg(caps) || sequence.read(&headers.map_readable().ok()?).is_some() {
        return None;
    }
    let (rate, unit) = sequence.rate.filter(|_| sequence.is_extended)?;
    let rate = gst::Fraction::new(i32::try_from(rate).ok()?, i32::try_from(unit).ok()?);
    let mut caps = caps.to_owned();
    caps.make_mut().structure_mut(0)?.set("framerate", rate);
    Some(caps)
}

fn is_mpeg(caps: &gst::CapsRef) -> bool {
    let format = caps.structure(0).filter(|format| format.name() == "video/mpeg");
    format.is_some_and(|format| format.get::<i32>("mpegversion").is_ok_and(|version| version < 4))
}

fn lock(times: &Mutex<Times>) -> MutexGuard<'_, Times> {
    times.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    /// A packet with a picture of a type, and before the first one headers of 25 × 2 / 5 frames a
    /// second.
    fn packet(kind: char, repeats: bool, has_headers: bool) -> Vec<u8> {
        let headers = [0, 0, 1, 0xb3, 8, 0, 0x60, 0x23, 0xff, 0xff, 0xe0, 0x18];
        let extension = [0, 0, 1, 0xb5, 0x14, 0x82, 0, 1, 0, 0x24];
        let code = match kind {
            'I' => 1,
            'P' => 2,
            _ => 3,
        };
        let picture = [0, 0, 1, 0, 0, code << 3, 0, 0];
        let coding = [0, 0, 1, 0xb5, 0x8f, 0xff, 0xf3, if repeats { 2 } else { 0 }, 0x80];
        let slice = [0, 0, 1, 1, 0, 0, 1, 0, 0xff];
        let headers = [&headers[..], &extension].concat();
        let start = if has_headers { &headers[..] } else { &[] };
        [start, &picture, &coding, &slice].concat()
    }

    /// Times of pictures in the order of decoding, in milliseconds; those in `known` are in the
    /// stream, as times of showing and decoding.
    fn times(pictures: &str, known: &[(usize, u64, u64)]) -> Vec<Option<u64>> {
        let mut times = Times::default();
        for (index, kind) in pictures.chars().enumerate() {
            let own = known.iter().find(|(known, ..)| *known == index);
            let own = own.map(|(_, pts, dts)| (*pts * MS, *dts * MS)).unzip();
            let bytes = packet(kind.to_ascii_uppercase(), kind.is_lowercase(), index == 0);
            times.packet(&bytes, own.0, own.1);
        }
        (0..pictures.len() as u64).map(|n| times.frame(n).map(|time| time / MS)).collect()
    }

    #[test]
    fn pictures_without_a_time_are_shown_at_the_rate_and_in_the_order_of_their_headers() {
        let raw = times("IPBBPBB", &[]);
        assert_eq!(raw, [100, 400, 200, 300, 700, 500, 600].map(Some));
        assert_eq!(times("IPP", &[]), [100, 200, 300].map(Some));
        let all: Vec<_> = (0..3).map(|n| (n, 100 * n as u64 + 50, 100 * n as u64)).collect();
        assert_eq!(times("IPP", &all), [None; 3]);
    }

    #[test]
    fn a_time_that_jumps_moves_the_pictures_around_it() {
        let found = times("IPPPP", &[(0, 1100, 1000), (3, 2100, 2000)]);
        assert_eq!(found, [1100, 1200, 2000, 2100, 2200].map(Some));
        let found = times("IPBBPBB", &[(0, 1100, 1000), (5, 2000, 2000)]);
        assert_eq!(found, [1100, 1400, 1200, 1300, 2200, 2000, 2100].map(Some));
        // Without a time of decoding.
        let found = times("IPBB", &[(0, 1100, 1100), (1, 1400, 1400)]);
        assert_eq!(found, [1100, 1400, 1200, 1300].map(Some));
    }

    #[test]
    fn fields_that_are_repeated_make_a_picture_longer() {
        let found = times("IpBbP", &[]);
        assert_eq!(found, [100, 450, 200, 300, 600].map(Some));
    }

    #[test]
    fn no_bytes_make_it_fail() {
        let bytes = packet('I', false, true);
        for at in 0..bytes.len() {
            for value in [0, 1, 0xb3, 0xb5, 0xff] {
                let mut bytes = bytes.clone();
                bytes[at] = value;
                Times::default().packet(&bytes, Some(u64::MAX), Some(0));
                Times::default().packet(&bytes[..at], None, None);
            }
        }
    }
}

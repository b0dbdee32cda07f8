use gstreamer as gst;

/// Where a time of a stream lies on the video's timeline, in nanoseconds, even past the segment's
/// end.
pub(crate) fn stream_time(
    segment: &gst::FormattedSegment<gst::ClockTime>,
    time: gst::ClockTime,
) -> Option<u64> {
    match segment.to_stream_time_full(time)? {
        gst::Signed::Positive(time) => Some(time.nseconds()),
        gst::Signed::Negative(_) => None,
    }
}

/// The part of a video's timeline that its decoded frames cover, in nanoseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Coverage {
    first: Option<u64>,
    last: u64,
    last_length: u64,
}

impl Coverage {
    /// Adds a frame. If its length is unknown, it is estimated from the frame rate, or else from
    /// the distance to the frame before.
    pub(crate) fn add(
        &mut self,
        start: Option<u64>,
        length: Option<u64>,
        rate: Option<(u32, u32)>,
    ) {
        let Some(start) = start else { return };
        let first = self.first.map_or(start, |first| first.min(start));
        if self.first.is_none() || start >= self.last {
            let distance = if self.first.is_some() { start - self.last } else { 0 };
            let period = rate.map(|(numerator, denominator)| {
                u64::from(denominator) * 1_000_000_000 / u64::from(numerator.max(1))
            });
            self.last_length = length.or(period).unwrap_or(distance);
            self.last = start;
        }
        self.first = Some(first);
    }

    /// When the last frame ends.
    pub(crate) fn end(&self) -> Option<u64> {
        self.first.map(|_| self.last.saturating_add(self.last_length))
    }

    pub(crate) fn last_length(&self) -> u64 {
        self.last_length
    }

    /// From the first frame's start to the last one's end.
    pub(crate) fn duration(&self) -> Option<u64> {
        Some(self.end()? - self.first?)
    }
}

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

/// Places frames on the timeline that users see: time 0 is the first frame shown, whatever times
/// the container has.
#[derive(Clone, Debug, Default)]
pub(crate) struct Timeline {
    /// Where it begins on the container's timeline, in nanoseconds.
    origin: Option<u64>,
}

impl Timeline {
    /// When the next frame in presentation order is shown, in nanoseconds. `nominal` is when it
    /// would be shown if the video had a constant rate: it places the first frame that has a time.
    pub(crate) fn place(&mut self, pts: Option<u64>, nominal: Option<u64>) -> Option<u64> {
        let pts = pts?;
        let origin =
            *self.origin.get_or_insert_with(|| pts.saturating_sub(nominal.unwrap_or_default()));
        Some(pts.saturating_sub(origin))
    }
}

/// The part of a video's timeline that its decoded frames cover, in nanoseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Coverage {
    first: Option<u64>,
    last: u64,
    last_length: u64,
    /// From the frame before it.
    last_distance: u64,
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
            self.last_distance = distance;
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

    /// From the start of the frame before the last one to that one's.
    pub(crate) fn last_distance(&self) -> u64 {
        self.last_distance
    }

    /// From the first frame's start to the last one's end.
    pub(crate) fn duration(&self) -> Option<u64> {
        Some(self.end()? - self.first?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_frame_that_has_a_time_begins_the_timeline() {
        let mut timeline = Timeline::default();
        assert_eq!(timeline.place(Some(100_000), Some(0)), Some(0));
        assert_eq!(timeline.place(None, Some(40)), None);
        assert_eq!(timeline.place(Some(100_080), Some(80)), Some(80));
        assert_eq!(timeline.place(Some(99_000), Some(120)), Some(0));
        let mut late = Timeline::default();
        assert_eq!(late.place(None, Some(0)), None);
        assert_eq!(late.place(Some(100_040), Some(40)), Some(40));
        let mut unknown_rate = Timeline::default();
        assert_eq!(unknown_rate.place(Some(100_040), None), Some(0));
    }
}

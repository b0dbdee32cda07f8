use super::Announced;
use super::error::Problem;
use super::watch::Watch;

/// Containers round, and sound comes in packets.
const TOLERANCE: u64 = 200_000_000;

/// The part of a video's timeline that its decoded frames cover, in nanoseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Covered {
    first: Option<u64>,
    last: u64,
    /// How long the last frame lasts.
    length: u64,
}

impl Covered {
    /// Adds a frame. Where its length isn't known, it is that of the rate, or the distance from the
    /// frame before.
    pub(super) fn add(
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
            self.length = length.or(period).unwrap_or(distance);
            self.last = start;
        }
        self.first = Some(first);
    }

    fn end(&self) -> Option<u64> {
        self.first.map(|_| self.last.saturating_add(self.length))
    }

    /// From the first frame's start to the last one's end.
    pub(super) fn duration(&self) -> Option<u64> {
        Some(self.end()? - self.first?)
    }
}

/// Says so if the video ends before what its container announces.
///
/// Sound that is longer than the video is no fault of the video: if any stream reaches the
/// announced end, all is there.
pub(super) fn cut_short(
    covered: &Covered,
    announced: &Announced,
    watch: &Watch,
) -> Option<Problem> {
    let (decoded, announced) = (covered.end()?, announced.duration()?);
    let tolerance = TOLERANCE.max(covered.length.saturating_mul(2));
    let reaches = |end: u64| end.saturating_add(tolerance) >= announced;
    // Without a demuxer, the length is a guess from the bit rate.
    let demuxed = watch.end()?;
    (!reaches(decoded) && !reaches(demuxed)).then_some(Problem::CutShort { decoded, announced })
}

/// Says so if the decoder was given more frames than it gave.
pub(super) fn damaged(decoded: u64, watch: &Watch) -> Option<Problem> {
    let lost = watch.packets()?.checked_sub(decoded).filter(|lost| *lost > 0)?;
    Some(Problem::Damaged { lost })
}

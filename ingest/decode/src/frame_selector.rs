use moliceiro_messages::FrameSelection;

/// Whether a frame is selected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Selected {
    Yes,
    No(LeftOut),
    /// This frame and all after it lie past the end.
    EndOfRange,
}

/// Why a frame is not selected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LeftOut {
    BeforeStart,
    Every,
    Fps,
}

/// Selects the frames that are analysed.
///
/// It sees every frame from the first one on, and the selection follows from their indexes and
/// times alone. So an ingest that takes a video over from one that was killed selects the same
/// frames.
pub(crate) struct FrameSelector {
    selection: FrameSelection,
    /// Time of the first frame in the range, in nanoseconds.
    first: Option<u64>,
    /// The next tick of `fps` that is to get a frame.
    due: u128,
}

impl FrameSelector {
    pub(crate) fn new(selection: FrameSelection) -> Self {
        Self { selection, first: None, due: 0 }
    }

    /// Decides about the next frame in decode order. `time` is in nanoseconds; a frame without one
    /// lies in the range, and is selected by its index alone.
    pub(crate) fn select(&mut self, index: u64, time: Option<u64>) -> Selected {
        let Some(time) = time else { return self.by_index(index) };
        if self.selection.end.is_some_and(|end| time >= end.nanoseconds()) {
            return Selected::EndOfRange;
        }
        if !self.is_in_range(Some(time)) {
            return Selected::No(LeftOut::BeforeStart);
        }
        match self.by_index(index) {
            Selected::Yes if !self.is_due(time) => Selected::No(LeftOut::Fps),
            by_index => by_index,
        }
    }

    /// Whether a time lies between start (inclusive) and end (exclusive).
    pub(crate) fn is_in_range(&self, time: Option<u64>) -> bool {
        let FrameSelection { start, end, .. } = self.selection;
        let inside = |time| {
            start.is_none_or(|start| time >= start.nanoseconds())
                && end.is_none_or(|end| time < end.nanoseconds())
        };
        time.is_none_or(inside)
    }

    fn by_index(&self, index: u64) -> Selected {
        if index.is_multiple_of(self.selection.every.max(1)) {
            Selected::Yes
        } else {
            Selected::No(LeftOut::Every)
        }
    }

    /// Whether the next tick has passed. A tick without a frame, because the video's rate is
    /// slightly above the requested one, is made up for at once: otherwise every second frame could
    /// miss its tick for a long time.
    fn is_due(&mut self, time: u64) -> bool {
        let Some(fps) = self.selection.fps else { return true };
        let first = *self.first.get_or_insert(time);
        let tick = tick(time.saturating_sub(first), fps.thousandths());
        let is_due = tick >= self.due;
        if is_due {
            self.due = if tick == self.due + 1 { tick } else { tick + 1 };
        }
        is_due
    }
}

/// The last tick at `since` nanoseconds after the first frame.
///
/// Some containers round times to milliseconds, up or down. So each tick is a millisecond early,
/// but not earlier than half of its period.
fn tick(since: u64, thousandths: u32) -> u128 {
    const EARLY: u128 = 1_000_000;
    const PERIODS: u128 = 1_000_000_000_000;
    let periods = u128::from(since) * u128::from(thousandths);
    (periods + (EARLY * u128::from(thousandths)).min(PERIODS / 2)) / PERIODS
}

#[cfg(test)]
#[expect(clippy::cast_possible_truncation, reason = "test videos are short")]
mod tests {
    use moliceiro_messages::{Fps, Offset};
    use proptest::prelude::*;

    use super::*;

    fn selection(fps: Option<f64>, start: Option<f64>, end: Option<f64>) -> FrameSelection {
        let offset = |seconds: f64| Offset::try_from(seconds).unwrap();
        FrameSelection {
            fps: fps.map(|fps| Fps::try_from(fps).unwrap()),
            start: start.map(offset),
            end: end.map(offset),
            ..FrameSelection::every(1)
        }
    }

    /// The indexes that are selected of frames with these times.
    fn selected(
        selection: FrameSelection,
        times: impl IntoIterator<Item = Option<u64>>,
    ) -> Vec<u64> {
        let mut selector = FrameSelector::new(selection);
        let shown = times
            .into_iter()
            .enumerate()
            .map(|(index, time)| (index as u64, selector.select(index as u64, time)));
        shown
            .take_while(|(_, selected)| *selected != Selected::EndOfRange)
            .filter(|(_, selected)| *selected == Selected::Yes)
            .map(|(i, _)| i)
            .collect()
    }

    /// Times of `n` frames at a rate, rounded down to a multiple of `grain` nanoseconds as
    /// containers do.
    fn times(n: u64, rate: f64, grain: u64) -> Vec<Option<u64>> {
        (0..n).map(|i| Some((i as f64 * 1e9 / rate) as u64 / grain * grain)).collect()
    }

    #[test]
    fn the_video_s_own_rate_selects_every_frame_however_its_times_are_rounded() {
        for rate in [8.0, 23.976, 24.0, 25.0, 29.97, 30.0, 50.0, 59.94, 60.0, 120.0] {
            for grain in [1, 1_000, 1_000_000] {
                assert_eq!(
                    selected(selection(Some(rate), None, None), times(5000, rate, grain)).len(),
                    5000,
                    "{rate} {grain}"
                );
            }
        }
    }

    #[test]
    fn a_part_of_the_rate_selects_frames_at_even_distances() {
        for (rate, ratio) in [
            (30.0, 2),
            (30.0, 3),
            (24.0, 4),
            (60.0, 6),
            (24.0, 8),
            (25.0, 25),
            (30.0, 30),
            (24.0, 24),
        ] {
            for grain in [1, 1_000_000] {
                let found = selected(
                    selection(Some(rate / f64::from(ratio)), None, None),
                    times(600, rate, grain),
                );
                let expected: Vec<_> = (0..600).step_by(ratio as usize).collect();
                assert_eq!(found, expected, "{rate} / {ratio}, {grain}");
            }
        }
    }

    #[test]
    fn a_rate_that_is_rounded_down_loses_few_frames() {
        // 30000/1001 is 29.97003: in two hours the ticks lag by a fifth of a frame.
        let found = selected(
            selection(Some(29.97), None, None),
            times(216_000, 30_000.0 / 1001.0, 1_000_000),
        );
        assert!(found.len() >= 215_990, "{}", found.len());
    }

    #[test]
    fn a_higher_rate_than_the_video_s_selects_each_frame_once() {
        assert_eq!(selected(selection(Some(1000.0), None, None), times(100, 25.0, 1)).len(), 100);
    }

    #[test]
    fn the_range_includes_its_start_and_excludes_its_end() {
        assert_eq!(
            selected(selection(None, Some(0.4), Some(0.6)), times(50, 25.0, 1)),
            (10..15).collect::<Vec<_>>()
        );
        assert_eq!(
            selected(selection(Some(5.0), Some(1.0), None), times(50, 25.0, 1)),
            [25, 30, 35, 40, 45]
        );
        assert_eq!(selected(selection(None, Some(9.0), None), times(50, 25.0, 1)), [0; 0]);
    }

    #[test]
    fn frames_without_times_are_all_selected() {
        assert_eq!(
            selected(selection(Some(1.0), Some(5.0), Some(6.0)), [None; 10]),
            (0..10).collect::<Vec<_>>()
        );
    }

    proptest! {
        #[test]
        fn the_rate_is_kept_on_average(
            gaps in proptest::collection::vec(0_u64..200_000_000, 1..400),
            fps in 0.1_f64..60.0,
            start in 0_u64..10_000,
            length in 1_u64..30_000,
        ) {
            let range = (start as f64 / 1e3, (start + length) as f64 / 1e3);
            let selection = selection(Some(fps), Some(range.0), Some(range.1));
            let mut at = 0;
            let times: Vec<_> = gaps
                .iter()
                .map(|gap| {
                    at += gap;
                    Some(at)
                })
                .collect();
            let found = selected(selection, times.clone());
            let time_of = |index: u64| times[index as usize].unwrap();
            let range = start * 1_000_000..(start + length) * 1_000_000;
            let inside: Vec<_> =
                (0..times.len() as u64).filter(|index| range.contains(&time_of(*index))).collect();
            prop_assert!(found.iter().all(|index| inside.contains(index)));
            prop_assert_eq!(found.first(), inside.first());
            let period = 1e9 / f64::from(selection.fps.unwrap());
            let periods =
                |from: u64, to: u64| time_of(to).saturating_sub(time_of(from)) as f64 / period;
            for few in found.windows(4) {
                prop_assert!(periods(few[0], few[3]) >= 0.9, "{few:?}");
            }
            if let (Some(first), Some(last)) = (found.first(), found.last()) {
                prop_assert!(found.len() as f64 <= periods(*first, *last) + 2.1);
            }
            // A frame that comes a whole period after the last one is not left out.
            for pair in found.windows(2) {
                let next = inside.iter().find(|index| periods(pair[0], **index) > 1.001);
                if let Some(next) = next {
                    prop_assert!(time_of(pair[1]) <= time_of(*next));
                }
            }
        }
    }
}

use moliceiro_messages::FrameSelection;

/// What becomes of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Chosen {
    /// It is looked at.
    Yes,
    /// It is only counted.
    No,
    /// It and all after it lie behind the end.
    Over,
}

/// Chooses the frames that are looked at.
///
/// It is shown every frame from the first one on, and what it chooses follows from their indexes
/// and times alone. So whoever decodes the same video again, after the first was killed, chooses
/// the same frames.
pub(super) struct FrameSelector {
    choice: FrameSelection,
    /// Time of the first frame in the range.
    first: Option<u64>,
    /// The next tick of `fps` that is to have a frame.
    due: u128,
}

impl FrameSelector {
    pub(super) fn new(choice: FrameSelection) -> Self {
        Self { choice, first: None, due: 0 }
    }

    /// Shows the next frame in decode order. `time` is in nanoseconds; a frame without one lies in
    /// the range, and has a tick of its own.
    pub(super) fn choose(&mut self, index: u64, time: Option<u64>) -> Chosen {
        let Some(time) = time else { return self.by_index(index) };
        if self.choice.end.is_some_and(|end| time >= end.nanoseconds()) {
            return Chosen::Over;
        }
        if !self.is_in_range(Some(time)) || self.by_index(index) == Chosen::No || !self.is_due(time)
        {
            return Chosen::No;
        }
        Chosen::Yes
    }

    /// Whether a time is neither before the start nor behind the end.
    pub(super) fn is_in_range(&self, time: Option<u64>) -> bool {
        let FrameSelection { start, end, .. } = self.choice;
        let inside = |time| {
            start.is_none_or(|start| time >= start.nanoseconds())
                && end.is_none_or(|end| time < end.nanoseconds())
        };
        time.is_none_or(inside)
    }

    fn by_index(&self, index: u64) -> Chosen {
        if index.is_multiple_of(self.choice.every.max(1)) { Chosen::Yes } else { Chosen::No }
    }

    /// Whether the next tick has come. A tick that found no frame, because the video's rate is a
    /// hair above the wanted one, is made up for at once: else each second frame could miss its
    /// tick for a long time.
    fn is_due(&mut self, time: u64) -> bool {
        let Some(fps) = self.choice.fps else { return true };
        let first = *self.first.get_or_insert(time);
        let tick = tick(time.saturating_sub(first), fps.thousandths());
        let is_due = tick >= self.due;
        if is_due {
            self.due = if tick == self.due + 1 { tick } else { tick + 1 };
        }
        is_due
    }
}

/// The last tick that has come when a frame is shown `since` the first one, in nanoseconds.
///
/// Some containers round frames' times to milliseconds, to either side. So each tick comes a
/// millisecond early, but not before half of its period is over.
fn tick(since: u64, thousandths: u32) -> u128 {
    const EARLY: u128 = 1_000_000;
    const PERIODS: u128 = 1_000_000_000_000;
    let periods = u128::from(since) * u128::from(thousandths);
    (periods + (EARLY * u128::from(thousandths)).min(PERIODS / 2)) / PERIODS
}

#[cfg(test)]
mod tests {
    use moliceiro_messages::{Fps, Offset};
    use proptest::prelude::*;

    use super::*;

    fn choice(fps: Option<f64>, start: Option<f64>, end: Option<f64>) -> FrameSelection {
        let offset = |seconds: f64| Offset::try_from(seconds).unwrap();
        FrameSelection {
            every: 1,
            fps: fps.map(|fps| Fps::try_from(fps).unwrap()),
            start: start.map(offset),
            end: end.map(offset),
        }
    }

    /// The indexes that are chosen of frames with these times.
    fn chosen(choice: FrameSelection, times: impl IntoIterator<Item = Option<u64>>) -> Vec<u64> {
        let mut chooser = FrameSelector::new(choice);
        let shown = times
            .into_iter()
            .enumerate()
            .map(|(index, time)| (index as u64, chooser.choose(index as u64, time)));
        shown
            .take_while(|(_, chosen)| *chosen != Chosen::Over)
            .filter(|(_, chosen)| *chosen == Chosen::Yes)
            .map(|(i, _)| i)
            .collect()
    }

    /// Times of `n` frames at a rate, rounded down to a multiple of `grain` nanoseconds as
    /// containers do.
    fn times(n: u64, rate: f64, grain: u64) -> Vec<Option<u64>> {
        (0..n).map(|i| Some((i as f64 * 1e9 / rate) as u64 / grain * grain)).collect()
    }

    #[test]
    fn the_video_s_own_rate_gives_each_frame_however_its_times_are_rounded() {
        for rate in [8.0, 23.976, 24.0, 25.0, 29.97, 30.0, 50.0, 59.94, 60.0, 120.0] {
            for grain in [1, 1_000, 1_000_000] {
                assert_eq!(
                    chosen(choice(Some(rate), None, None), times(5000, rate, grain)).len(),
                    5000,
                    "{rate} {grain}"
                );
            }
        }
    }

    #[test]
    fn a_part_of_the_rate_gives_frames_at_even_distances() {
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
                let found = chosen(
                    choice(Some(rate / f64::from(ratio)), None, None),
                    times(600, rate, grain),
                );
                let expected: Vec<_> = (0..600).step_by(ratio as usize).collect();
                assert_eq!(found, expected, "{rate} / {ratio}, {grain}");
            }
        }
    }

    #[test]
    fn a_rate_that_is_written_a_little_too_low_loses_few_frames() {
        // 30000/1001 is 29.97003: in two hours the ticks fall back by a fifth of a frame.
        let found =
            chosen(choice(Some(29.97), None, None), times(216_000, 30_000.0 / 1001.0, 1_000_000));
        assert!(found.len() >= 215_990, "{}", found.len());
    }

    #[test]
    fn a_higher_rate_than_the_video_s_gives_each_frame_once() {
        assert_eq!(chosen(choice(Some(1000.0), None, None), times(100, 25.0, 1)).len(), 100);
    }

    #[test]
    fn the_range_holds_its_start_and_not_its_end() {
        assert_eq!(
            chosen(choice(None, Some(0.4), Some(0.6)), times(50, 25.0, 1)),
            (10..15).collect::<Vec<_>>()
        );
        assert_eq!(
            chosen(choice(Some(5.0), Some(1.0), None), times(50, 25.0, 1)),
            [25, 30, 35, 40, 45]
        );
        assert_eq!(chosen(choice(None, Some(9.0), None), times(50, 25.0, 1)), [0; 0]);
    }

    #[test]
    fn frames_without_times_are_all_chosen() {
        assert_eq!(
            chosen(choice(Some(1.0), Some(5.0), Some(6.0)), [None; 10]),
            (0..10).collect::<Vec<_>>()
        );
    }

    proptest! {
        #[test]
        fn about_so_many_per_second(
            gaps in proptest::collection::vec(0_u64..200_000_000, 1..400),
            fps in 0.1_f64..60.0,
            start in 0_u64..10_000,
            length in 1_u64..30_000,
        ) {
            let range = (start as f64 / 1e3, (start + length) as f64 / 1e3);
            let choice = choice(Some(fps), Some(range.0), Some(range.1));
            let mut at = 0;
            let times: Vec<_> = gaps.iter().map(|gap| { at += gap; Some(at) }).collect();
            let found = chosen(choice, times.clone());
            let inside: Vec<_> = (0..times.len()).filter(|i| {
                let time = times[*i].unwrap();
                time >= start * 1_000_000 && time < (start + length) * 1_000_000
            }).collect();
            prop_assert!(found.iter().all(|index| inside.contains(&(*index as usize))));
            prop_assert_eq!(found.first().map(|index| *index as usize), inside.first().copied());
            let period = 1e9 / f64::from(choice.fps.unwrap());
            let periods = |from: u64, to: u64| times[to as usize].unwrap().saturating_sub(times[from as usize].unwrap()) as f64 / period;
            for few in found.windows(4) {
                prop_assert!(periods(few[0], few[3]) >= 0.9, "{few:?}");
            }
            if let (Some(first), Some(last)) = (found.first(), found.last()) {
                prop_assert!(found.len() as f64 <= periods(*first, *last) + 2.1);
            }
            // No frame is passed over that comes a whole period after the last one.
            for pair in found.windows(2) {
                let chosen = times[pair[0] as usize].unwrap();
                let next = inside.iter().map(|i| times[*i].unwrap()).find(|time| time.saturating_sub(chosen) as f64 > period * 1.001);
                if let Some(next) = next {
                    prop_assert!(times[pair[1] as usize].unwrap() <= next);
                }
            }
        }
    }
}

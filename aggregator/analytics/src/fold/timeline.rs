//! What happens at lines and in zones over time, in intervals that grow with the video: their
//! number is bounded.

use moliceiro_messages::{Direction, LineTimeline, Timeline, ZoneTimeline};

use super::Rules;
use super::occupancy::Held;

/// Seconds of the shortest interval. Doubling it is exact.
const SHORTEST: f64 = 1.0 / 32.0;

/// Intervals from the first frame on, as many as something happened in.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Intervals {
    /// The time of the first frame.
    start: Option<f64>,
    step: f64,
    lines: Vec<Vec<Crossed>>,
    zones: Vec<Vec<Inside>>,
}

trait Interval: Copy + Default {
    /// Adds the interval that follows this one.
    fn join(&mut self, later: Self);
}

/// Crossings in and out.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Crossed {
    inwards: u64,
    outwards: u64,
}

impl Interval for Crossed {
    fn join(&mut self, later: Self) {
        self.inwards += later.inwards;
        self.outwards += later.outwards;
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Inside {
    /// Tracks times seconds.
    integral: f64,
    least: Option<u64>,
    most: u64,
}

impl Interval for Inside {
    fn join(&mut self, later: Self) {
        self.integral += later.integral;
        self.least = match (self.least, later.least) {
            (Some(least), Some(later)) => Some(least.min(later)),
            (least, later) => least.or(later),
        };
        self.most = self.most.max(later.most);
    }
}

impl Intervals {
    pub(super) fn new(rules: &Rules) -> Self {
        Self {
            start: None,
            step: SHORTEST,
            lines: vec![vec![]; rules.lines.len()],
            zones: vec![vec![]; rules.zones.len()],
        }
    }

    /// The time of the first frame.
    pub(super) fn start(&mut self, at: f64) {
        self.start.get_or_insert(at);
    }

    pub(super) fn cross(&mut self, line: usize, direction: Direction, at: f64) {
        let place = self.reach(at);
        let crossed = interval(&mut self.lines[line], place);
        match direction {
            Direction::In => crossed.inwards += 1,
            Direction::Out => crossed.outwards += 1,
        }
    }

    /// So many tracks were in a zone from one time to another.
    pub(super) fn hold(&mut self, zone: usize, Held { from, to, tracks }: Held) {
        let start = self.start.unwrap_or(from);
        if to < start {
            return;
        }
        let mut from = from.max(start);
        let last = self.reach(to);
        for place in self.place(from)..=last {
            let end = if place == last { to } else { start + (place + 1) as f64 * self.step };
            // What ends with an interval is not in the next one.
            if end > from || place == 0 {
                let seconds = (end - from).max(0.0);
                interval(&mut self.zones[zone], place).join(Inside {
                    integral: seconds * tracks as f64,
                    least: Some(tracks),
                    most: tracks,
                });
                from = from.max(end);
            }
        }
    }

    fn place(&self, at: f64) -> usize {
        let steps = (at - self.start.unwrap_or(at)) / self.step;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
        let place = steps as usize;
        place
    }

    /// The interval of a time. The intervals grow until there are few enough.
    fn reach(&mut self, at: f64) -> usize {
        while self.place(at) >= Timeline::MOST_INTERVALS {
            self.step *= 2.0;
            self.lines.iter_mut().for_each(join_pairs);
            self.zones.iter_mut().for_each(join_pairs);
        }
        self.place(at)
    }

    /// What is known, up to the last frame.
    pub(super) fn timeline(mut self, rules: &Rules, end: f64) -> Timeline {
        let start = self.start.unwrap_or(end);
        let last = self.reach(end);
        // A frame at the very beginning of an interval does not make one.
        let has_length = end > start + last as f64 * self.step;
        let n = if has_length || last == 0 { last + 1 } else { last };
        let Self { step, lines, zones, .. } = self;
        let length = |place: usize| (end - start - place as f64 * step).min(step);
        let lines = lines.into_iter().map(|line| {
            let line = exactly(line, n);
            LineTimeline {
                inwards: line.iter().map(|crossed| crossed.inwards).collect(),
                outwards: line.iter().map(|crossed| crossed.outwards).collect(),
            }
        });
        let mean = |(place, inside): (usize, &Inside)| match length(place) {
            length if length > 0.0 => inside.integral / length,
            _ => inside.most as f64,
        };
        let zones = zones.into_iter().map(|zone| {
            let zone = exactly(zone, n);
            ZoneTimeline {
                least: zone.iter().map(|inside| inside.least.unwrap_or(0)).collect(),
                mean: zone.iter().enumerate().map(mean).collect(),
                most: zone.iter().map(|inside| inside.most).collect(),
            }
        });
        Timeline {
            start_s: start,
            end_s: end,
            step_s: step,
            lines: rules.lines.iter().map(|line| line.name.clone()).zip(lines).collect(),
            zones: rules.zones.iter().map(|zone| zone.name.clone()).zip(zones).collect(),
        }
    }
}

fn interval<I: Interval>(intervals: &mut Vec<I>, place: usize) -> &mut I {
    if intervals.len() <= place {
        intervals.resize(place + 1, I::default());
    }
    &mut intervals[place]
}

fn join_pairs<I: Interval>(intervals: &mut Vec<I>) {
    let join = |pair: &[I]| {
        let mut joined = pair[0];
        pair[1..].iter().for_each(|later| joined.join(*later));
        joined
    };
    *intervals = intervals.chunks(2).map(join).collect();
}

/// So many intervals, at least one: what is beyond belongs to the last one.
fn exactly<I: Interval>(mut intervals: Vec<I>, n: usize) -> Vec<I> {
    intervals.resize(intervals.len().max(n), I::default());
    let beyond = intervals.split_off(n);
    if let Some(last) = intervals.last_mut() {
        beyond.into_iter().for_each(|later| last.join(later));
    }
    intervals
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> Rules {
        Rules {
            lines: vec!["gate: 0,0 1,1".parse().unwrap()],
            zones: vec!["quay: 0,0 1,0 1,1".parse().unwrap()],
            ..Rules::default()
        }
    }

    #[test]
    fn the_intervals_of_a_long_video_are_few_and_nothing_is_lost() {
        let rules = rules();
        for seconds in [0_u32, 1, 4, 5, 60, 1_000, 36_000] {
            let mut intervals = Intervals::new(&rules);
            intervals.start(10.0);
            for second in 0..seconds {
                let (from, to) = (10.0 + f64::from(second), 11.0 + f64::from(second));
                intervals.hold(0, Held { from, to, tracks: u64::from(second % 3 == 0) });
                intervals.cross(0, Direction::In, to);
            }
            let end = 10.0 + f64::from(seconds);
            let timeline = intervals.timeline(&rules, end);
            let Timeline { step_s, lines, zones, .. } = &timeline;
            let (gate, quay) = (&lines["gate"], &zones["quay"]);
            let n = gate.inwards.len();
            assert!((1..=Timeline::MOST_INTERVALS).contains(&n), "{n}");
            assert!(seconds < 5 || n > Timeline::MOST_INTERVALS / 2, "{seconds}: {n}");
            assert_eq!([gate.outwards.len(), quay.least.len(), quay.most.len()], [n; 3]);
            assert_eq!(gate.inwards.iter().sum::<u64>(), u64::from(seconds));
            let length = |place: usize| (end - 10.0 - place as f64 * step_s).min(*step_s);
            let inside: f64 =
                quay.mean.iter().enumerate().map(|(place, mean)| mean * length(place)).sum();
            let expected = f64::from(seconds.div_ceil(3));
            assert!((inside - expected).abs() < 1e-6, "{seconds}: {inside}");
            assert!(quay.most.iter().all(|most| *most <= 1), "{quay:?}");
        }
    }

    #[test]
    fn an_interval_has_what_was_true_within_it() {
        let rules = rules();
        let mut intervals = Intervals::new(&rules);
        intervals.start(0.0);
        intervals.hold(0, Held { from: 0.0, to: 0.0625, tracks: 2 });
        intervals.hold(0, Held { from: 0.0625, to: 0.078_125, tracks: 0 });
        intervals.hold(0, Held { from: 0.078_125, to: 0.125, tracks: 1 });
        let quay = intervals.timeline(&rules, 0.125).zones.remove("quay").unwrap();
        assert_eq!(quay.least, [2, 2, 0, 1]);
        assert_eq!(quay.most, [2, 2, 1, 1]);
        assert_eq!(quay.mean, [2.0, 2.0, 0.5, 1.0]);
    }

    #[test]
    fn a_single_frame_has_one_interval() {
        let rules = rules();
        let mut intervals = Intervals::new(&rules);
        intervals.start(3.0);
        intervals.hold(0, Held { from: 3.0, to: 3.0, tracks: 2 });
        let timeline = intervals.timeline(&rules, 3.0);
        let quay = &timeline.zones["quay"];
        assert_eq!(
            (&quay.least[..], &quay.mean[..], &quay.most[..]),
            (&[2][..], &[2.0][..], &[2][..])
        );
        assert_eq!(timeline.lines["gate"].inwards, [0]);
    }
}

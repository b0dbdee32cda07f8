//! How many detectors should run. It does no I/O.

use std::num::NonZero;
use std::time::{Duration, Instant};

use moliceiro_nats::messages::QueuedWork;

/// Between two frames of a video the queue may be empty for a moment.
const EMPTY_MEASUREMENTS: u32 = 2;
/// Detectors that are busy for more of their time than this are all needed.
const BUSY: f64 = 0.95;

/// What the operator asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The fewest detectors.
    pub min: u32,
    /// The most detectors.
    pub max: u32,
    /// How long the frames in the queue may take.
    pub within: Duration,
    /// How long fewer detectors have to be enough before some are stopped.
    pub cooldown: Duration,
    /// Machines that share the work: each starts its part.
    pub machines: NonZero<u32>,
}

/// Decides, measurement by measurement.
#[derive(Debug)]
pub struct Scaler {
    policy: Policy,
    /// Measurements in a row that found the queue empty.
    empty: u32,
    lower: Option<Lower>,
}

/// Fewer detectors than run would be enough.
#[derive(Clone, Copy, Debug)]
struct Lower {
    since: Instant,
    /// The most that were needed meanwhile.
    most: u32,
}

impl Scaler {
    /// Nothing is known yet.
    pub fn new(policy: Policy) -> Self {
        Self { policy, empty: 0, lower: None }
    }

    /// How many detectors should run, now that `running` do. Without a measurement, as many as now.
    ///
    /// More are started at once. Fewer have to be enough for the whole cooldown, except when the
    /// queue is empty: then one stays for that time, and the others stop.
    pub fn decide(&mut self, now: Instant, running: u32, work: Option<&QueuedWork>) -> u32 {
        let Policy { min, max, cooldown, .. } = self.policy;
        let Some(work) = work else {
            (self.empty, self.lower) = (0, None);
            return running.clamp(min, max);
        };
        let is_empty = work.models.iter().all(|model| model.frames == 0);
        self.empty = if is_empty { self.empty.saturating_add(1) } else { 0 };
        let needed = if is_empty { 0 } else { self.needed(running, work) }.clamp(min, max);
        if needed >= running {
            self.lower = None;
            return needed;
        }
        let one = min.max(1);
        if self.empty >= EMPTY_MEASUREMENTS && running > one {
            self.lower = Some(Lower { since: now, most: needed });
            return one.min(max);
        }
        let lower = self.lower.get_or_insert(Lower { since: now, most: needed });
        lower.most = lower.most.max(needed);
        if now.duration_since(lower.since) < cooldown {
            return running.min(max);
        }
        let most = lower.most;
        self.lower = None;
        most
    }

    /// At least one: there is work.
    fn needed(&self, running: u32, work: &QueuedWork) -> u32 {
        let machines = f64::from(self.policy.machines.get());
        let to_finish = work.detector_seconds / self.policy.within.as_secs_f64() / machines;
        let busy: f64 = work
            .models
            .iter()
            .filter_map(|model| Some(model.frames_per_second / model.detector_frames_per_second?))
            .sum();
        // With fewer, the queue would grow.
        let to_keep_pace = count(busy * BUSY / machines).min(running);
        count(to_finish).max(to_keep_pace).max(1)
    }
}

fn count(detectors: f64) -> u32 {
    #[expect(clippy::cast_possible_truncation, reason = "a cast from a float saturates")]
    #[expect(clippy::cast_sign_loss, reason = "the same")]
    let count = (detectors - 1e-6).ceil() as u32;
    count
}

#[cfg(test)]
mod tests {
    use moliceiro_nats::messages::{ModelWork, VERSION};

    use super::*;

    const POLICY: Policy = Policy {
        min: 0,
        max: 8,
        within: Duration::from_secs(10),
        cooldown: Duration::from_secs(30),
        machines: NonZero::<u32>::MIN,
    };

    /// Frames in the queue, frames finished in a second by all, and by one.
    fn work(frames: u64, rate: f64, of_one: Option<f64>) -> QueuedWork {
        let detector_seconds = match of_one {
            Some(of_one) => frames as f64 / of_one,
            None => frames.min(1) as f64,
        };
        let model = ModelWork {
            model: "boats".parse().unwrap(),
            frames,
            in_flight: 0,
            detectors: 0,
            frames_per_second: rate,
            detector_frames_per_second: of_one,
            seconds: None,
            detector_seconds,
        };
        QueuedWork { version: VERSION, detectors: 0, detector_seconds, models: vec![model] }
    }

    /// The scaler, with a clock that moves by a second.
    struct Run(Scaler, Instant, u32);

    impl Run {
        fn new(policy: Policy) -> Self {
            Self(Scaler::new(policy), Instant::now(), policy.min)
        }

        fn step(&mut self, work: Option<&QueuedWork>) -> u32 {
            self.1 += Duration::from_secs(1);
            self.2 = self.0.decide(self.1, self.2, work);
            self.2
        }

        fn steps(&mut self, n: u32, work: Option<&QueuedWork>) -> Vec<u32> {
            (0..n).map(|_| self.step(work)).collect()
        }
    }

    #[test]
    fn a_burst_takes_detectors_from_none_to_as_many_as_it_needs_and_back() {
        let mut run = Run::new(POLICY);
        assert_eq!(run.steps(5, Some(&work(0, 0.0, None))), [0; 5]);
        // Nobody knows how fast a detector is: one finds out.
        assert_eq!(run.steps(3, Some(&work(1000, 0.0, None))), [1; 3]);
        assert_eq!(run.step(Some(&work(1000, 20.0, Some(20.0)))), 5);
        assert_eq!(run.step(Some(&work(2000, 20.0, Some(20.0)))), 8, "not more than the maximum");
        assert_eq!(run.step(Some(&work(1500, 160.0, Some(20.0)))), 8);
        // All are busy: they finish it together.
        assert_eq!(run.step(Some(&work(100, 160.0, Some(20.0)))), 8);
        assert_eq!(run.step(Some(&work(0, 160.0, Some(20.0)))), 8, "it may be a moment only");
        assert_eq!(run.step(Some(&work(0, 100.0, Some(20.0)))), 1, "none stays for nothing");
        let last = run.steps(40, Some(&work(0, 0.0, Some(20.0))));
        assert_eq!(last.iter().filter(|n| **n == 1).count(), 29, "{last:?}");
        assert_eq!(last.last(), Some(&0));
        // The next burst starts with what is known.
        assert_eq!(run.step(Some(&work(1000, 0.0, Some(20.0)))), 5);
    }

    #[test]
    fn fewer_have_to_be_enough_for_the_whole_cooldown() {
        let mut run = Run::new(POLICY);
        assert_eq!(run.step(Some(&work(1000, 0.0, Some(20.0)))), 5);
        let (less, more) = (work(390, 40.0, Some(20.0)), work(590, 40.0, Some(20.0)));
        assert_eq!(run.steps(15, Some(&less)), [5; 15]);
        assert_eq!(run.step(Some(&more)), 5);
        assert_eq!(run.steps(14, Some(&less)), [5; 14]);
        assert_eq!(run.step(Some(&less)), 3, "the most that were needed meanwhile");
    }

    #[test]
    fn detectors_that_keep_pace_with_a_steady_source_stay() {
        let mut run = Run::new(POLICY);
        run.step(Some(&work(800, 0.0, Some(20.0))));
        let steady = work(6, 70.0, Some(20.0));
        let steps = run.steps(200, Some(&steady));
        assert_eq!((steps[0], steps.last()), (4, Some(&4)), "70 frames/s need four");
    }

    #[test]
    fn without_a_measurement_nothing_changes() {
        let mut run = Run::new(POLICY);
        run.step(Some(&work(1000, 0.0, Some(20.0))));
        run.steps(29, Some(&work(1, 1.0, Some(20.0))));
        assert_eq!(run.steps(100, None), [5; 100]);
        assert_eq!(run.step(Some(&work(1, 1.0, Some(20.0)))), 5, "the cooldown starts again");
    }

    #[test]
    fn the_limits_hold_and_machines_share() {
        let mut run = Run::new(Policy { min: 2, max: 3, ..POLICY });
        assert_eq!(run.step(None), 2);
        assert_eq!(run.step(Some(&work(u64::MAX, 0.0, Some(1e-9)))), 3);
        assert_eq!(run.steps(2, Some(&work(0, 0.0, Some(1.0)))), [3, 2]);
        let machines = NonZero::new(3).unwrap();
        let mut run = Run::new(Policy { machines, ..POLICY });
        assert_eq!(run.step(Some(&work(1000, 0.0, Some(20.0)))), 2);
    }
}

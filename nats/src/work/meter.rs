//! The figures of [`QueuedWork`], from what consumers and detectors report. It does no I/O.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use async_nats::jetstream::consumer::Info;

use crate::messages::{DetectorRates, ModelId, ModelWork, QueuedWork, VERSION};

/// Over how long frames per second are measured.
const WINDOW: Duration = Duration::from_secs(10);
/// A detector that did not report for so long is down.
const SILENCE: Duration = Duration::from_secs(5);
/// More than any deployment has: the memory that reports take is bounded.
const MOST_DETECTORS: usize = 10_000;
const MOST_MODELS: usize = 1_000;
/// What earlier reports weigh, compared with the latest one.
const EARLIER: f64 = 0.8;

/// How far a consumer is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Level {
    /// Frames that were not delivered yet.
    waiting: u64,
    /// Frames that were delivered and are not acknowledged.
    in_flight: u64,
    /// Deliveries since the consumer exists.
    deliveries: u64,
    /// Those in flight that were delivered more than once.
    redelivered: u64,
}

impl Level {
    pub(super) fn of(info: &Info) -> Self {
        Self {
            waiting: info.num_pending,
            in_flight: info.num_ack_pending as u64,
            deliveries: info.delivered.consumer_sequence,
            redelivered: info.num_redelivered as u64,
        }
    }

    fn frames(self) -> u64 {
        self.waiting.saturating_add(self.in_flight)
    }

    /// Frames that were finished since `earlier`. A frame that is delivered again is not.
    fn done_since(self, earlier: Self) -> u64 {
        let again = self.redelivered.saturating_sub(earlier.redelivered);
        let delivered = self.deliveries.saturating_sub(earlier.deliveries).saturating_sub(again);
        (delivered + earlier.in_flight).saturating_sub(self.in_flight)
    }
}

/// What is known of all models and detectors.
#[derive(Debug, Default)]
pub(super) struct Meter {
    models: BTreeMap<ModelId, ModelMeter>,
    detectors: BTreeMap<String, Detector>,
}

#[derive(Debug, Default)]
struct ModelMeter {
    level: Option<Level>,
    /// When each measurement was made, and the frames that were done by then.
    done: VecDeque<(Instant, u64)>,
    /// Frames times sessions, and the seconds of work on them, of all detectors.
    analysed: f64,
    seconds: f64,
}

#[derive(Debug)]
struct Detector {
    seen: Instant,
    /// Frames and seconds of each model that it serves.
    models: BTreeMap<ModelId, (u64, f64)>,
}

impl Meter {
    /// The model has a consumer.
    pub(super) fn add(&mut self, model: &ModelId) {
        if self.models.len() < MOST_MODELS {
            self.models.entry(model.clone()).or_default().level.get_or_insert_default();
        }
    }

    /// The model does not have a consumer any more.
    pub(super) fn remove(&mut self, model: &ModelId) {
        self.models.remove(model);
    }

    pub(super) fn models(&self) -> Vec<ModelId> {
        let with_consumer = self.models.iter().filter(|(_, meter)| meter.level.is_some());
        with_consumer.map(|(model, _)| model.clone()).collect()
    }

    pub(super) fn level(&mut self, model: &ModelId, now: Instant, level: Level) {
        let Some(meter) = self.models.get_mut(model) else { return };
        let earlier = meter.level.replace(level);
        let (done_before, is_first) =
            meter.done.back().map_or((0, true), |(_, done)| (*done, false));
        let done = earlier.filter(|_| !is_first).map_or(0, |earlier| level.done_since(earlier));
        // Time without work says nothing about the rate.
        let was_idle = done == 0 && level.frames() == 0;
        if was_idle || earlier.is_some_and(|earlier| level.deliveries < earlier.deliveries) {
            meter.done.clear();
        }
        meter.done.push_back((now, done_before + done));
        while meter.done.len() > 2
            && meter.done.get(1).is_some_and(|(at, _)| now.duration_since(*at) >= WINDOW)
        {
            meter.done.pop_front();
        }
    }

    pub(super) fn report(&mut self, now: Instant, rates: &DetectorRates) {
        self.forget_silent(now);
        if rates.is_stopping {
            self.detectors.remove(&rates.detector);
            return;
        }
        if self.detectors.len() >= MOST_DETECTORS && !self.detectors.contains_key(&rates.detector) {
            return;
        }
        let mut models = BTreeMap::new();
        let known = self.detectors.get(&rates.detector);
        for rate in rates.models.iter().take(MOST_MODELS) {
            let known = known.and_then(|known| known.models.get(&rate.model)).copied();
            // A detector that was restarted under the same name starts at zero.
            let (frames, seconds) = known
                .filter(|(frames, seconds)| rate.frames >= *frames && rate.seconds >= *seconds)
                .unwrap_or_default();
            let (frames, seconds) = (rate.frames - frames, rate.seconds - seconds);
            if frames > 0
                && seconds > 0.0
                && seconds.is_finite()
                && (self.models.contains_key(&rate.model) || self.models.len() < MOST_MODELS)
            {
                let meter = self.models.entry(rate.model.clone()).or_default();
                let frames = frames as f64 * rates.sessions as f64;
                meter.analysed = meter.analysed * EARLIER + frames;
                meter.seconds = meter.seconds * EARLIER + seconds;
            }
            models.insert(rate.model.clone(), (rate.frames, rate.seconds));
        }
        self.detectors.insert(rates.detector.clone(), Detector { seen: now, models });
    }

    fn forget_silent(&mut self, now: Instant) {
        self.detectors.retain(|_, detector| now.duration_since(detector.seen) < SILENCE);
    }

    pub(super) fn work(&mut self, now: Instant) -> QueuedWork {
        self.forget_silent(now);
        let serving = |model: &ModelId| {
            self.detectors.values().filter(|detector| detector.models.contains_key(model)).count()
        };
        let with_consumer =
            self.models.iter().filter_map(|(model, meter)| Some((model, meter, meter.level?)));
        let models: Vec<_> = with_consumer
            .map(|(model, meter, level)| {
                let frames = level.frames();
                let (frames_per_second, of_one) = (meter.rate(), meter.rate_of_one());
                ModelWork {
                    model: model.clone(),
                    frames,
                    in_flight: level.in_flight,
                    detectors: serving(model) as u64,
                    frames_per_second,
                    detector_frames_per_second: of_one,
                    seconds: match frames {
                        0 => Some(0.0),
                        _ => Some(frames as f64 / frames_per_second).filter(|s| s.is_finite()),
                    },
                    detector_seconds: match of_one {
                        Some(rate) => frames as f64 / rate,
                        None => frames.min(1) as f64,
                    },
                }
            })
            .collect();
        QueuedWork {
            version: VERSION,
            detectors: self.detectors.len() as u64,
            detector_seconds: models.iter().map(|model| model.detector_seconds).sum(),
            models,
        }
    }
}

impl ModelMeter {
    fn rate(&self) -> f64 {
        let (Some((from, before)), Some((to, after))) = (self.done.front(), self.done.back())
        else {
            return 0.0;
        };
        let seconds = to.duration_since(*from).as_secs_f64();
        if seconds > 0.0 { (after - before) as f64 / seconds } else { 0.0 }
    }

    fn rate_of_one(&self) -> Option<f64> {
        let rate = self.analysed / self.seconds;
        (rate.is_finite() && rate > 0.0).then_some(rate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::ModelRate;

    fn boats() -> ModelId {
        "boats".parse().unwrap()
    }

    fn after(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    fn level(waiting: u64, in_flight: u64, deliveries: u64) -> Level {
        Level { waiting, in_flight, deliveries, redelivered: 0 }
    }

    fn rates(detector: &str, frames: u64, seconds: f64) -> DetectorRates {
        DetectorRates {
            version: VERSION,
            detector: detector.into(),
            sessions: 2,
            models: vec![ModelRate { model: boats(), frames, seconds }],
            is_stopping: false,
        }
    }

    fn boats_of(work: &QueuedWork) -> ModelWork {
        work.models[0].clone()
    }

    #[test]
    fn work_that_no_detector_was_seen_doing_asks_for_one() {
        let (start, mut meter) = (Instant::now(), Meter::default());
        meter.add(&boats());
        assert_eq!(meter.work(start).detector_seconds, 0.0);
        meter.level(&boats(), start, level(500, 0, 0));
        let work = meter.work(start);
        let of_model = boats_of(&work);
        assert_eq!((of_model.seconds, of_model.frames_per_second), (None, 0.0));
        assert_eq!((work.detector_seconds, work.detectors), (1.0, 0));
    }

    #[test]
    fn frames_in_flight_are_work_and_the_rate_is_that_of_finished_ones() {
        let (start, mut meter) = (Instant::now(), Meter::default());
        meter.add(&boats());
        meter.level(&boats(), start, level(500, 0, 0));
        meter.level(&boats(), after(start, 1), level(488, 8, 12));
        meter.level(&boats(), after(start, 2), level(480, 8, 20));
        let of_model = boats_of(&meter.work(after(start, 2)));
        assert_eq!((of_model.frames, of_model.in_flight), (488, 8));
        assert_eq!(of_model.frames_per_second, 6.0, "12 in 2 s");
        assert_eq!(of_model.seconds, Some(488.0 / 6.0));
        // The detector dies with 8 frames, which are delivered again: nothing is finished.
        let again = Level { redelivered: 8, ..level(480, 8, 28) };
        meter.level(&boats(), after(start, 3), again);
        assert_eq!(boats_of(&meter.work(after(start, 3))).frames_per_second, 4.0);
        // Now they are.
        meter.level(&boats(), after(start, 4), level(480, 0, 28));
        assert_eq!(boats_of(&meter.work(after(start, 4))).frames_per_second, 5.0);
    }

    #[test]
    fn the_rate_is_that_of_the_last_seconds_and_of_time_with_work() {
        let (start, mut meter) = (Instant::now(), Meter::default());
        meter.add(&boats());
        for second in 0..100 {
            meter.level(&boats(), after(start, second), level(0, 0, 0));
        }
        meter.level(&boats(), after(start, 100), level(100, 0, 0));
        meter.level(&boats(), after(start, 101), level(90, 0, 10));
        assert_eq!(boats_of(&meter.work(after(start, 101))).frames_per_second, 5.0);
        for second in 102..120 {
            meter.level(&boats(), after(start, second), level(90, 0, 10 + second - 101));
        }
        assert_eq!(boats_of(&meter.work(after(start, 119))).frames_per_second, 1.0);
        // A consumer that is created again starts at zero.
        meter.level(&boats(), after(start, 120), level(90, 0, 0));
        meter.level(&boats(), after(start, 121), level(88, 0, 2));
        assert_eq!(boats_of(&meter.work(after(start, 121))).frames_per_second, 2.0);
    }

    #[test]
    fn the_speed_of_one_detector_is_known_and_stays_known_when_none_runs() {
        let (start, mut meter) = (Instant::now(), Meter::default());
        meter.add(&boats());
        meter.level(&boats(), start, level(100, 0, 0));
        meter.report(start, &rates("a", 0, 0.0));
        assert_eq!(boats_of(&meter.work(start)).detector_frames_per_second, None);
        // Two sessions, a tenth of a second for each frame.
        meter.report(after(start, 1), &rates("a", 20, 2.0));
        meter.report(after(start, 1), &rates("b", 10, 1.0));
        let work = meter.work(after(start, 1));
        let rate = boats_of(&work).detector_frames_per_second.unwrap();
        assert!((rate - 20.0).abs() < 1e-9, "{rate}");
        assert_eq!((work.detectors, boats_of(&work).detectors), (2, 2));
        assert!((work.detector_seconds - 5.0).abs() < 1e-9);
        meter.report(after(start, 2), &DetectorRates { is_stopping: true, ..rates("a", 20, 2.0) });
        assert_eq!(meter.work(after(start, 2)).detectors, 1);
        let later = meter.work(after(start, 60));
        assert_eq!(later.detectors, 0);
        assert!((later.detector_seconds - 5.0).abs() < 1e-9);
        // It is restarted on a slower machine.
        for frames in 1..40_u32 {
            let report = rates("b", frames.into(), f64::from(frames));
            meter.report(after(start, 60), &report);
        }
        let slower = boats_of(&meter.work(after(start, 60))).detector_frames_per_second.unwrap();
        assert!((2.0..2.1).contains(&slower), "{slower}");
    }

    #[test]
    fn strange_reports_change_nothing() {
        let (start, mut meter) = (Instant::now(), Meter::default());
        meter.add(&boats());
        for seconds in [f64::NAN, f64::INFINITY, -1.0, 0.0] {
            meter.report(start, &rates("a", u64::MAX, seconds));
        }
        assert_eq!(boats_of(&meter.work(start)).detector_frames_per_second, None);
        meter.remove(&boats());
        assert_eq!(meter.work(start).models, []);
    }
}

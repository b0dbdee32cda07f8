//! Everything that `top` knows about the pipeline, and what follows from it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

use moliceiro_nats::messages::{FrameResult, VideoState};

use crate::meter::{Meter, RecentEvents, WINDOW};
use crate::queues::Queues;
use crate::videos::{Videos, printable};

/// A queue counts as full from this share of its limit on.
const FULL: f64 = 0.98;

/// A detector that published results within the window.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Detector<'a> {
    pub(crate) name: &'a str,
    /// Frames per second.
    pub(crate) rate: f64,
    pub(crate) mean_ms: f64,
}

/// Frames per second at each step; `None` until known.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Rates {
    pub(crate) decoded: Option<f64>,
    pub(crate) published: Option<f64>,
    pub(crate) done: Option<f64>,
    pub(crate) counted: Option<f64>,
}

/// All that is shown.
#[derive(Clone, Debug)]
pub(crate) struct State {
    pub(crate) server: String,
    pub(crate) connected: bool,
    /// Why the last sample failed, to be shown.
    pub(crate) problem: Option<String>,
    pub(crate) queues: Option<Queues>,
    pub(crate) videos: Videos,
    /// Video entries that another release wrote.
    pub(crate) unreadable: usize,
    videos_loaded: bool,
    started_at: Instant,
    sampled_at: Option<Instant>,
    published: Meter,
    results: RecentEvents,
    results_by_detector: BTreeMap<String, RecentEvents>,
}

impl State {
    pub(crate) fn new(server: String, now: Instant) -> Self {
        Self {
            server,
            connected: true,
            problem: None,
            queues: None,
            videos: Videos::default(),
            unreadable: 0,
            videos_loaded: false,
            started_at: now,
            sampled_at: None,
            published: Meter::default(),
            results: RecentEvents::default(),
            results_by_detector: BTreeMap::new(),
        }
    }

    /// A detector published a result.
    pub(crate) fn record_result(&mut self, now: Instant, result: &FrameResult) {
        self.results.record(now, result.processing_us);
        self.results_by_detector
            .entry(printable(&result.detector))
            .or_default()
            .record(now, result.processing_us);
    }

    /// The bucket of videos is read from the start again.
    pub(crate) fn reset_videos(&mut self) {
        self.videos.clear();
        self.unreadable = 0;
        self.videos_loaded = false;
    }

    /// All entries that were in the bucket have been read.
    pub(crate) fn videos_loaded(&mut self) {
        self.videos_loaded = true;
    }

    /// The server reported its queues. It deletes entries older than `max_age` without notice, so
    /// they expire here too.
    pub(crate) fn sample(&mut self, now: Instant, queues: Queues, max_age: Option<Duration>) {
        self.problem = None;
        self.published.read(now, queues.frames_published);
        self.queues = Some(queues);
        self.sampled_at = Some(now);
        let oldest = max_age
            .filter(|max_age| !max_age.is_zero())
            .and_then(|max_age| SystemTime::now().checked_sub(max_age));
        if let Some(oldest) = oldest {
            self.videos.expire(oldest);
        }
        self.videos.sample(now);
        self.results.expire(now);
        self.results_by_detector.retain(|_, results| {
            results.expire(now);
            !results.is_empty()
        });
    }

    /// True once everything was read, and the queues twice, so that they have rates.
    pub(crate) fn is_complete(&self) -> bool {
        self.videos_loaded && self.published.rate().is_some()
    }

    /// Age of the last sample.
    pub(crate) fn age(&self, now: Instant) -> Option<Duration> {
        self.sampled_at.map(|at| now.duration_since(at))
    }

    /// The time over which rates are measured.
    pub(crate) fn measured_time(&self) -> Duration {
        self.sampled_at.map_or(Duration::ZERO, |at| at.duration_since(self.started_at)).min(WINDOW)
    }

    pub(crate) fn rates(&self) -> Rates {
        let has_videos = self.videos_loaded && self.sampled_at.is_some();
        Rates {
            decoded: has_videos.then(|| self.videos.decoded_rate()),
            published: self.published.rate(),
            done: self.sampled_at.map(|_| self.results.rate(self.measured_time())),
            counted: has_videos.then(|| self.videos.counted_rate()),
        }
    }

    /// How long the detectors need for the queued frames at their present rate; `None` if there are
    /// frames but the rate is 0.
    pub(crate) fn seconds_of_work(&self) -> Option<f64> {
        let queues = self.queues.as_ref()?;
        let frames = queues.frames_waiting + queues.frames_in_flight;
        let rate = self.results.rate(self.measured_time());
        match frames {
            0 => Some(0.0),
            _ => (rate > 0.0).then(|| frames as f64 / rate),
        }
    }

    /// Whether ingest is held back: the queue is full, or each video that is being decoded has all
    /// the frames in it that one video may have.
    pub(crate) fn is_queue_full(&self) -> bool {
        let Some(queues) = &self.queues else { return false };
        let decoding = self.videos.in_state(VideoState::Decoding) as u64;
        let all_at_limit = queues
            .frames_per_video
            .is_some_and(|limit| decoding > 0 && queues.frames.messages >= limit * decoding);
        queues.frames.share() >= FULL || all_at_limit
    }

    /// The detectors that published results within the window, by name.
    pub(crate) fn detectors(&self) -> Vec<Detector<'_>> {
        let measured_time = self.measured_time();
        self.results_by_detector
            .iter()
            .map(|(name, results)| Detector {
                name,
                rate: results.rate(measured_time),
                mean_ms: results.mean_ms(),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::example;
    use crate::queues::StreamLevel;
    use crate::videos::Order;

    #[test]
    fn rates_are_those_of_the_last_seconds() {
        let state = example::running();
        let rates = state.rates();
        assert_eq!(
            rates,
            Rates {
                decoded: Some(25.0),
                published: Some(25.0),
                done: Some(20.0),
                counted: Some(19.0)
            }
        );
        assert_eq!(
            state.detectors(),
            [
                Detector { name: "east:7", rate: 10.0, mean_ms: 48.0 },
                Detector { name: "west:7", rate: 10.0, mean_ms: 52.0 }
            ]
        );
        assert_eq!(state.seconds_of_work(), Some(10.0));
    }

    #[test]
    fn nothing_is_made_up_before_anything_is_known() {
        let state = State::new("nats://a:1".into(), Instant::now());
        assert_eq!(state.rates(), Rates::default());
        assert!(
            !state.is_complete() && state.seconds_of_work().is_none() && !state.is_queue_full()
        );
    }

    #[test]
    fn frames_without_a_detector_have_no_known_duration() {
        let (mut state, now) = (State::new("nats://a:1".into(), Instant::now()), Instant::now());
        state.sample(now, Queues { frames_waiting: 5, ..Queues::default() }, None);
        assert_eq!(state.seconds_of_work(), None);
    }

    #[test]
    fn a_queue_is_full_by_its_bytes_or_by_the_share_of_each_video() {
        let mut state = example::running();
        let frames =
            |messages, bytes| StreamLevel { messages, bytes, max_bytes: Some(1000), oldest: None };
        for (frames, full) in
            [(frames(200, 10), false), (frames(200, 990), true), (frames(256, 10), true)]
        {
            state.sample(
                Instant::now(),
                Queues { frames, frames_per_video: Some(256), ..Queues::default() },
                None,
            );
            assert_eq!(state.is_queue_full(), full, "{frames:?}");
        }
    }

    #[test]
    fn entries_that_the_bucket_expires_are_dropped_here_too() {
        let mut state = example::running();
        state.sample(Instant::now(), Queues::default(), Some(Duration::from_secs(3600)));
        assert_eq!(state.videos.sorted(Order::Newest).len(), 2);
        std::thread::sleep(Duration::from_millis(2));
        state.sample(Instant::now(), Queues::default(), Some(Duration::from_millis(1)));
        assert!(state.videos.sorted(Order::Newest).is_empty());
    }
}

//! What is known of the pipeline: plain data, and what follows from it.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

use moliceiro_nats::messages::{FrameResult, VideoEntry, VideoState};

use super::meter::{Meter, Recent, WINDOW};
use moliceiro_nats::messages::VideoProgress;

const TOP_CLASSES: usize = 3;
/// From here on a queue counts as full.
const FULL: f64 = 0.98;

/// What a stream holds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Fill {
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
    /// Bytes that it may hold.
    pub(crate) limit: Option<u64>,
    /// Age of its oldest message.
    pub(crate) oldest: Option<Duration>,
}

impl Fill {
    /// Share of the limit, 0 to 1.
    pub(crate) fn share(&self) -> f64 {
        self.limit.map_or(0.0, |limit| self.bytes as f64 / limit.max(1) as f64)
    }
}

/// What the server says of streams and consumers at one time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Queues {
    pub(crate) frames: Fill,
    /// Frames that one video may have in the queue.
    pub(crate) frames_per_video: Option<u64>,
    /// Frames that were ever published.
    pub(crate) published: u64,
    /// Frames that no detector has yet.
    pub(crate) frames_waiting: u64,
    /// Frames that a detector has.
    pub(crate) frames_in_hand: u64,
    /// Frames in the queue that were handed out more than once.
    pub(crate) redelivered: u64,
    /// Detectors that wait for a frame.
    pub(crate) pulls: u64,
    pub(crate) uploads_waiting: u64,
    pub(crate) uploads_in_work: u64,
    /// Results that are not counted yet.
    pub(crate) results_waiting: u64,
    pub(crate) dead: u64,
    pub(crate) alarm: Option<Alarm>,
}

/// The last alarm.
#[derive(Clone, Debug)]
pub(crate) struct Alarm {
    pub(crate) video: String,
    pub(crate) age: Duration,
}

/// One video as it is shown.
#[derive(Clone, Debug)]
pub(crate) struct Video {
    pub(crate) name: String,
    pub(crate) state: VideoState,
    pub(crate) figures: VideoProgress,
    /// Objects found most often, each with how many.
    pub(crate) top: Vec<(String, u64)>,
    /// Frames per second of the whole, once it is finished.
    whole_rate: Option<f64>,
    uploaded_at: u64,
    written: SystemTime,
    decoded: Meter,
    counted: Meter,
}

impl Video {
    /// Frames counted per second: now, or of the whole when it is finished.
    pub(crate) fn rate(&self) -> Option<f64> {
        self.whole_rate.or_else(|| self.counted.rate())
    }

    /// How far it is, 0 to 1.
    pub(crate) fn share(&self) -> Option<f64> {
        if self.state.is_final() {
            return Some(1.0);
        }
        let total = self.figures.total.filter(|total| *total > 0)?;
        Some((self.figures.settled() as f64 / total as f64).min(1.0))
    }
}

/// The order of videos.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Order {
    /// Unfinished ones first, then by upload, newest first.
    #[default]
    Newest,
    Name,
    /// Fastest first.
    Rate,
}

impl Order {
    pub(crate) fn next(self) -> Self {
        match self {
            Self::Newest => Self::Name,
            Self::Name => Self::Rate,
            Self::Rate => Self::Newest,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Newest => "newest first",
            Self::Name => "by name",
            Self::Rate => "fastest first",
        }
    }
}

/// A detector that gave results lately.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Detector<'a> {
    pub(crate) name: &'a str,
    pub(crate) rate: f64,
    pub(crate) mean_ms: f64,
}

/// Frames per second at each step; none while it is not known.
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
    /// Why there are no figures, or no new ones.
    pub(crate) trouble: Option<String>,
    pub(crate) queues: Option<Queues>,
    since: Instant,
    sampled: Option<Instant>,
    published: Meter,
    looked: Recent,
    detectors: BTreeMap<String, Recent>,
    videos: BTreeMap<String, Video>,
    /// Entries that another release wrote.
    pub(crate) unreadable: usize,
    loaded: bool,
}

impl State {
    pub(crate) fn new(server: String, now: Instant) -> Self {
        Self {
            server,
            connected: true,
            trouble: None,
            queues: None,
            since: now,
            sampled: None,
            published: Meter::default(),
            looked: Recent::default(),
            detectors: BTreeMap::new(),
            videos: BTreeMap::new(),
            unreadable: 0,
            loaded: false,
        }
    }

    /// A detector published a result.
    pub(crate) fn looked_at(&mut self, now: Instant, result: &FrameResult) {
        self.looked.note(now, result.processing_us);
        self.detectors
            .entry(printable(&result.detector))
            .or_default()
            .note(now, result.processing_us);
    }

    /// The bucket of videos is read anew.
    pub(crate) fn forget_videos(&mut self) {
        self.videos.clear();
        (self.unreadable, self.loaded) = (0, false);
    }

    /// All that was in the bucket has been read.
    pub(crate) fn videos_loaded(&mut self) {
        self.loaded = true;
    }

    /// A video's entry was written.
    pub(crate) fn video(&mut self, now: Instant, entry: &VideoEntry, written: SystemTime) {
        let figures = entry.progress();
        let mut classes: Vec<_> =
            entry.classes.iter().map(|(label, n)| (printable(label), *n)).collect();
        classes.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        classes.truncate(TOP_CLASSES);
        let before = self.videos.remove(entry.video.as_str());
        let (mut decoded, mut counted) =
            before.map(|video| (video.decoded, video.counted)).unwrap_or_default();
        if decoded.is_empty() {
            decoded.read(now, figures.decoded);
            counted.read(now, figures.settled());
        }
        let video = Video {
            name: printable(&entry.started.name),
            state: entry.state,
            figures,
            top: classes,
            whole_rate: entry.summary.as_ref().map(|summary| summary.frames_per_second),
            uploaded_at: entry.started.uploaded_at,
            written,
            decoded,
            counted,
        };
        self.videos.insert(entry.video.to_string(), video);
    }

    /// A video's entry was removed.
    pub(crate) fn forget_video(&mut self, video: &str) {
        self.videos.remove(video);
    }

    /// The server said how full everything is. Entries older than `keep` are gone: the server says
    /// nothing of those.
    pub(crate) fn sample(&mut self, now: Instant, queues: Queues, keep: Option<Duration>) {
        self.trouble = None;
        self.published.read(now, queues.published);
        self.queues = Some(queues);
        self.sampled = Some(now);
        if let Some(oldest) =
            keep.filter(|keep| !keep.is_zero()).and_then(|keep| SystemTime::now().checked_sub(keep))
        {
            self.videos.retain(|_, video| video.written >= oldest);
        }
        for video in self.videos.values_mut() {
            video.decoded.read(now, video.figures.decoded);
            video.counted.read(now, video.figures.settled());
        }
        self.looked.age(now);
        self.detectors.retain(|_, recent| {
            recent.age(now);
            !recent.is_empty()
        });
    }

    /// True when every part was read, and twice, so that there are rates.
    pub(crate) fn is_complete(&self) -> bool {
        self.loaded && self.published.rate().is_some()
    }

    /// How old the figures are.
    pub(crate) fn age(&self, now: Instant) -> Option<Duration> {
        self.sampled.map(|at| now.duration_since(at))
    }

    /// The time over which rates are measured.
    pub(crate) fn watched(&self) -> Duration {
        self.sampled.map_or(Duration::ZERO, |at| at.duration_since(self.since)).min(WINDOW)
    }

    pub(crate) fn rates(&self) -> Rates {
        let sum = |meter: fn(&Video) -> &Meter| {
            let rates: Vec<_> =
                self.videos.values().filter_map(|video| meter(video).rate()).collect();
            (self.loaded && self.sampled.is_some()).then(|| rates.iter().sum())
        };
        Rates {
            decoded: sum(|video| &video.decoded),
            published: self.published.rate(),
            done: self.sampled.map(|_| self.looked.rate(self.watched())),
            counted: sum(|video| &video.counted),
        }
    }

    /// How long the detectors need for what is queued, at their present rate.
    pub(crate) fn seconds_of_work(&self) -> Option<f64> {
        let queues = self.queues.as_ref()?;
        let frames = queues.frames_waiting + queues.frames_in_hand;
        let rate = self.looked.rate(self.watched());
        match frames {
            0 => Some(0.0),
            _ => (rate > 0.0).then(|| frames as f64 / rate),
        }
    }

    /// Whether ingest has to wait: for room in the queue, or for room for each of the videos that
    /// it decodes.
    pub(crate) fn is_queue_full(&self) -> bool {
        let Some(queues) = &self.queues else { return false };
        let decoding =
            self.videos.values().filter(|video| video.state == VideoState::Decoding).count() as u64;
        let own_share = queues
            .frames_per_video
            .is_some_and(|most| decoding > 0 && queues.frames.messages >= most * decoding);
        queues.frames.share() >= FULL || own_share
    }

    /// Those that gave a result lately, by name.
    pub(crate) fn detectors(&self) -> Vec<Detector<'_>> {
        let watched = self.watched();
        let recents = self.detectors.iter();
        recents
            .map(|(name, recent)| Detector {
                name,
                rate: recent.rate(watched),
                mean_ms: recent.mean_ms(),
            })
            .collect()
    }

    pub(crate) fn videos(&self, order: Order) -> Vec<&Video> {
        let mut videos: Vec<_> = self.videos.values().collect();
        match order {
            Order::Newest => {
                videos.sort_by_key(|video| (video.state.is_final(), Reverse(video.uploaded_at)))
            }
            Order::Name => videos.sort_by(|a, b| a.name.cmp(&b.name)),
            Order::Rate => {
                videos.sort_by(|a, b| b.rate().unwrap_or(0.0).total_cmp(&a.rate().unwrap_or(0.0)))
            }
        }
        videos
    }

    /// How many videos are in each state, in the order of a video's life.
    pub(crate) fn videos_by_state(&self) -> Vec<(VideoState, usize)> {
        use VideoState::{Counting, Decoding, Done, Failed, Incomplete};
        let number = |state| self.videos.values().filter(|video| video.state == state).count();
        [Decoding, Counting, Done, Incomplete, Failed].map(|state| (state, number(state))).to_vec()
    }
}

/// A text of a stranger's, as it may be written to a terminal.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::example;

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
    fn work_that_nobody_does_takes_no_known_time() {
        let (mut state, now) = (State::new("nats://a:1".into(), Instant::now()), Instant::now());
        state.sample(now, Queues { frames_waiting: 5, ..Queues::default() }, None);
        assert_eq!(state.seconds_of_work(), None);
    }

    #[test]
    fn a_queue_is_full_by_its_bytes_or_by_the_share_of_each_video() {
        let mut state = example::running();
        let frames = |messages, bytes| Fill { messages, bytes, limit: Some(1000), oldest: None };
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
    fn videos_are_sorted_with_the_unfinished_first() {
        let state = example::running();
        let names = |order| {
            state
                .videos(order)
                .iter()
                .map(|video| video.name.as_str())
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(names(Order::Newest), "bikes.mp4 aveiro.mkv");
        assert_eq!(names(Order::Name), "aveiro.mkv bikes.mp4");
        assert_eq!(names(Order::Rate), "aveiro.mkv bikes.mp4");
    }

    #[test]
    fn entries_that_the_bucket_drops_for_their_age_are_dropped_here_too() {
        let mut state = example::running();
        state.sample(Instant::now(), Queues::default(), Some(Duration::from_secs(3600)));
        assert_eq!(state.videos(Order::Newest).len(), 2);
        std::thread::sleep(Duration::from_millis(2));
        state.sample(Instant::now(), Queues::default(), Some(Duration::from_millis(1)));
        assert!(state.videos(Order::Newest).is_empty());
    }

    #[test]
    fn a_strangers_text_cannot_steer_the_terminal() {
        let (mut state, now) = (State::new("nats://a:1".into(), Instant::now()), Instant::now());
        let mut entry = example::entry("evil", VideoState::Decoding, 1, 1);
        entry.started.name = "\u{1b}[2Jgone\u{7}".into();
        state.video(now, &entry, SystemTime::now());
        assert_eq!(state.videos(Order::Newest)[0].name, "\u{fffd}[2Jgone\u{fffd}");
    }
}

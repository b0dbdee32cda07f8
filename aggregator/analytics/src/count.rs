//! The counting core: plain data and functions, no I/O.
//!
//! Any order of events, any repetition and any split into batches leads to the same totals: each
//! frame adds to them once, and only when ingest has confirmed that the frame exists. Of two
//! results of a frame the one that found out what is in it is the one that counts: so it does not
//! matter which came first, and a failed frame can be looked at again later.

mod entry;

use std::collections::{BTreeMap, BTreeSet};

use moliceiro_messages::VideoId;
use moliceiro_messages::{
    Alarm, AlarmRule, Cancelled, Ended, Event, FailedFrame, FrameResult, LiveStatus, Started,
    Summary, Unconfirmed, VERSION, VideoState,
};
use roaring::RoaringTreemap;

pub use self::entry::BrokenBitmap;
use crate::alarms::{Alarms, Known};

/// Reasons kept for failed frames: enough to see a pattern, few enough for one entry.
const MOST_FAILURES: usize = 20;
/// Results of frames that ingest has not confirmed yet: it confirms so often that more are
/// somebody's mistake. With so many, an entry still fits into a message of NATS's default size.
const MOST_UNCONFIRMED: usize = 2_000;

/// Milestones kept: many detectors are behind ingest by fewer.
const MOST_MILESTONES: usize = 64;

/// Names of models kept: a video should have one.
const MOST_MODELS: usize = 8;

/// The totals of one video.
#[derive(Clone, Debug, PartialEq)]
pub struct VideoCount {
    started: Started,
    /// No ingest has taken it up.
    queued: bool,
    cancelled: Option<Cancelled>,
    published: u64,
    published_frames: Option<u64>,
    /// Where frames are chosen by time: bounds of indexes, and how many frames are below, that are
    /// not reached yet.
    milestones: Vec<(u64, u64)>,
    announced: Option<u64>,
    live: Option<LiveStatus>,
    ended: Option<Ended>,
    counted: RoaringTreemap,
    failed: RoaringTreemap,
    unconfirmed: BTreeMap<u64, Unconfirmed>,
    failures: Vec<FailedFrame>,
    processing_us: u64,
    classes: BTreeMap<String, u64>,
    models: BTreeSet<String>,
    finished_at: Option<u64>,
    corrections: u64,
    alarms: Alarms,
}

/// What an event did to the totals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// It changed them.
    Changed,
    /// It was in them already.
    Duplicate,
    /// It is about a frame that the video does not have.
    NoSuchFrame,
    /// Too much is unconfirmed, or its video is only queued: it must come again.
    NotYet,
}

impl VideoCount {
    /// A video of which nothing is counted yet. `rules` hold if its upload has none of its own.
    pub fn new(started: Started, rules: &[AlarmRule]) -> Self {
        Self {
            alarms: Alarms::new(&started, rules),
            started,
            queued: false,
            cancelled: None,
            published: 0,
            published_frames: None,
            milestones: Vec::new(),
            announced: None,
            live: None,
            ended: None,
            counted: RoaringTreemap::new(),
            failed: RoaringTreemap::new(),
            unconfirmed: BTreeMap::new(),
            failures: Vec::new(),
            processing_us: 0,
            classes: BTreeMap::new(),
            models: BTreeSet::new(),
            finished_at: None,
            corrections: 0,
        }
    }

    /// A video that waits for an ingest. When it is started, [`VideoCount::new`] takes its place.
    pub fn queued(upload: Started) -> Self {
        Self { queued: true, ..Self::new(upload, &[]) }
    }

    /// True as long as it waits for an ingest.
    pub fn is_queued(&self) -> bool {
        self.queued && self.cancelled.is_none()
    }

    /// Takes an event in. `now` is in milliseconds since 1970-01-01 UTC.
    pub fn apply(&mut self, event: &Event, now: u64) -> Applied {
        if self.cancelled.is_some() {
            return Applied::Duplicate;
        }
        let applied = match event {
            Event::Queued(_) | Event::Started(_) => Applied::Duplicate,
            Event::Cancelled(cancelled) => return self.cancel(cancelled, now),
            _ if self.queued => Applied::NotYet,
            Event::Progress(progress) => {
                let news = progress.published > self.published && self.ended.is_none();
                if news {
                    self.published = progress.published;
                    self.published_frames = progress.frames;
                    self.pass(progress.published, progress.frames);
                    self.announced = progress.announced.or(self.announced);
                }
                changed_if(news)
            }
            Event::Live(live) => {
                let news = self.ended.is_none()
                    && self.live.as_ref().is_none_or(|known| known.at < live.at);
                if news {
                    // Its frames are those of its windows, which are videos of their own.
                    (self.published, self.published_frames) =
                        (self.published.max(live.frames), Some(0));
                    self.live = Some(live.clone());
                }
                changed_if(news)
            }
            Event::Ended(ended) if ended.decoded < self.published => {
                let fewer = || {
                    format!("it broke off at frame {}, where it was decoded before", ended.decoded)
                };
                self.end(self.cut_off(ended.problem.clone().unwrap_or_else(fewer)))
            }
            Event::Ended(ended) => self.end(ended.clone()),
            Event::Abandoned(abandoned) => self.end(self.cut_off(abandoned.reason.clone())),
            Event::Frame(frame) => {
                let (classes, sightings) = (self.classes_in(frame), self.alarms.sightings(frame));
                let (index, processing_us, model) =
                    (frame.index, frame.processing_us, frame.model.clone());
                self.take(Unconfirmed {
                    index,
                    processing_us,
                    classes,
                    failure: None,
                    model,
                    matches: sightings,
                })
            }
            Event::Failed(failed) => self.take(Unconfirmed {
                index: failed.index,
                processing_us: 0,
                classes: BTreeMap::new(),
                failure: Some(failed.reason.clone()),
                model: None,
                matches: vec![],
            }),
        };
        if applied == Applied::Changed {
            self.settle();
            if self.is_complete() {
                self.finished_at.get_or_insert(now);
            }
        }
        applied
    }

    fn cancel(&mut self, cancelled: &Cancelled, now: u64) -> Applied {
        if self.finished_at.is_some() {
            return Applied::Duplicate;
        }
        self.cancelled = Some(cancelled.clone());
        self.finished_at = Some(now);
        self.unconfirmed.clear();
        self.alarms.stop();
        Applied::Changed
    }

    /// The objects that count, by class.
    fn classes_in(&self, frame: &FrameResult) -> BTreeMap<String, u64> {
        let labels = &self.started.labels;
        let mut classes = BTreeMap::new();
        for detection in frame
            .detections
            .iter()
            .filter(|found| labels.is_empty() || labels.contains(&found.label))
        {
            *classes.entry(detection.label.clone()).or_insert(0) += 1;
        }
        classes
    }

    /// The end of a video of which there is nothing more than what ingest has confirmed.
    fn cut_off(&self, problem: String) -> Ended {
        let frames = self
            .published_frames
            .unwrap_or_else(|| self.published.div_ceil(self.started.selection.every.max(1)));
        Ended { frames, decoded: self.published, duration: None, problem: Some(problem) }
    }

    fn end(&mut self, ended: Ended) -> Applied {
        let news = self.ended.is_none();
        if news {
            self.published = ended.decoded;
            self.pass(ended.decoded, Some(ended.frames));
            self.ended = Some(ended);
        }
        changed_if(news)
    }

    fn take(&mut self, result: Unconfirmed) -> Applied {
        let index = result.index;
        let known =
            |unconfirmed: &Unconfirmed| unconfirmed.failure.is_none() || result.failure.is_some();
        let failed_before = self.failed.contains(index);
        let news = match self.unconfirmed.get(&index) {
            Some(unconfirmed) => !known(unconfirmed),
            None => !self.counted.contains(index) && (!failed_before || result.failure.is_none()),
        };
        if !news {
            return Applied::Duplicate;
        }
        let beyond_end = self.ended.as_ref().is_some_and(|ended| index >= ended.decoded);
        if beyond_end || !index.is_multiple_of(self.started.selection.every.max(1)) {
            return Applied::NoSuchFrame;
        }
        if index >= self.published && self.unconfirmed.len() >= MOST_UNCONFIRMED {
            return Applied::NotYet;
        }
        self.corrections += u64::from(failed_before && self.finished_at.is_some());
        self.unconfirmed.insert(index, result);
        Applied::Changed
    }

    /// Adds what is confirmed to the totals, and drops what never will be.
    fn settle(&mut self) {
        let still_unconfirmed = self.unconfirmed.split_off(&self.published);
        for (index, result) in std::mem::replace(&mut self.unconfirmed, still_unconfirmed) {
            match result.failure {
                Some(reason) => {
                    self.failed.insert(index);
                    self.failures.push(FailedFrame { index, reason });
                }
                None => {
                    self.counted.insert(index);
                    if self.failed.remove(index) {
                        self.failures.retain(|failure| failure.index != index);
                    }
                }
            }
            self.processing_us = self.processing_us.saturating_add(result.processing_us);
            for (label, n) in result.classes {
                *self.classes.entry(label).or_insert(0) += n;
            }
            self.models.extend(result.model);
            self.alarms.keep(result.matches);
        }
        while self.models.len() > MOST_MODELS {
            self.models.pop_last();
        }
        self.judge();
        // Frames counted in a row become one run.
        self.counted.optimize();
        self.failed.optimize();
        self.failures.sort_by_key(|failure| failure.index);
        self.failures.truncate(MOST_FAILURES);
        if self.ended.is_some() {
            self.unconfirmed.clear();
        }
    }

    /// Remembers how many frames are below an index, if the index alone does not tell.
    fn pass(&mut self, published: u64, frames: Option<u64>) {
        let Some(frames) = frames.filter(|_| self.started.selection.count(published).is_none())
        else {
            return;
        };
        if self.milestones.len() >= MOST_MILESTONES {
            self.milestones.pop();
        }
        self.milestones.push((published, frames));
    }

    /// Judges frames by the alarm rules, as far as all of them are known.
    fn judge(&mut self) {
        let (counted, failed) = (&self.counted, &self.failed);
        let known = |index| match () {
            () if counted.contains(index) => Known::Seen,
            () if failed.contains(index) => Known::Failed,
            () => Known::Nothing,
        };
        if self.started.selection.count(0).is_some() {
            return self.alarms.judge(self.started.selection.every.max(1), known);
        }
        let is_reached = |&(below, frames): &(u64, u64)| {
            counted.range_cardinality(..below) + failed.range_cardinality(..below) >= frames
        };
        let reached = self
            .milestones
            .iter()
            .rposition(is_reached)
            .or((self.alarms.is_full() && !self.milestones.is_empty()).then_some(0));
        let Some((below, _)) = reached.and_then(|at| self.milestones.drain(..=at).next_back())
        else {
            return;
        };
        let all = counted | failed;
        let mut indexes = all.iter();
        indexes.advance_to(self.alarms.next());
        self.alarms.judge_below(
            below,
            indexes
                .take_while(|index| *index < below)
                .map(|index| (index, counted.contains(index))),
        );
    }

    fn is_complete(&self) -> bool {
        self.ended
            .as_ref()
            .is_some_and(|ended| self.counted.len() + self.failed.len() >= ended.frames)
    }

    /// Where the video is in its life.
    pub fn state(&self) -> VideoState {
        match &self.ended {
            _ if self.cancelled.is_some() => VideoState::Cancelled,
            _ if self.queued => VideoState::Queued,
            None => VideoState::Decoding,
            Some(_) if !self.is_complete() => VideoState::Counting,
            Some(Ended { frames: 0, .. })
                if self.live.as_ref().is_none_or(|live| live.frames == 0) =>
            {
                VideoState::Failed
            }
            Some(Ended { problem: Some(_), .. }) => VideoState::Incomplete,
            Some(_) => VideoState::Done,
        }
    }

    /// The summary, once the state is final.
    pub fn summary(&self, video: &VideoId) -> Option<Summary> {
        let finished_at = self.finished_at?;
        let ended = self.ended.as_ref();
        let problem = match &self.cancelled {
            Some(Cancelled { reason }) => Some(reason.clone()),
            None => ended.and_then(|ended| ended.problem.clone()),
        };
        let wall_time_s = finished_at.saturating_sub(self.started.uploaded_at) as f64 / 1e3;
        let per = |total: f64, n: f64| if n > 0.0 { total / n } else { 0.0 };
        Some(Summary {
            version: VERSION,
            video: video.clone(),
            name: self.started.name.clone(),
            uri: self.started.uri.clone(),
            state: self.state(),
            problem,
            corrections: self.corrections,
            processed_frames: self.counted.len(),
            failed_frames: self.failed.len(),
            failed: self.failures.clone(),
            average_processing_ms: per(self.processing_us as f64 / 1e3, self.counted.len() as f64),
            classes: self.classes.clone(),
            top: Summary::ranking(&self.classes, 3),
            alarms: self.alarms.raised(),
            models: self.models.clone(),
            live: self.live.clone(),
            duration_s: ended.and_then(|ended| ended.duration).map(|ns| ns as f64 / 1e9),
            wall_time_s,
            frames_per_second: per(self.counted.len() as f64, wall_time_s),
        })
    }

    /// Alarms that were raised, of which it is not known that they are published; in the order of
    /// their frames.
    pub fn unsent_alarms(&self, video: &VideoId) -> Vec<Alarm> {
        self.alarms.unsent(video, &self.started.name)
    }

    /// The first `n` of the unsent alarms are published.
    pub fn alarms_sent(&mut self, n: usize) {
        self.alarms.sent(n);
    }
}

fn changed_if(news: bool) -> Applied {
    if news { Applied::Changed } else { Applied::Duplicate }
}

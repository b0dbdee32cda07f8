//! The totals of one video: what each event adds to them, and which state the video is in.
//!
//! Any order of events, any repetition and any split into batches leads to the same totals: each
//! frame is added once, and only when ingest has confirmed that the frame exists. A frame may have
//! two results, of which one is a failure. Then the other one counts, whichever arrived first, so a
//! failed frame can be analysed again later.

pub(crate) mod entry;
mod frames;
mod milestones;
mod missing;
mod summary;

use std::collections::BTreeMap;

use moliceiro_messages::{
    Alarm, AlarmRule, AnalyticsSummary, Cancelled, Carried, Ended, Event, Failed, FrameResult,
    LiveStatus, Progress, RepairState, Started, Unconfirmed, VideoId, VideoState,
};

use self::frames::Frames;
use self::milestones::Milestones;
use crate::alarms::Alarms;

/// Results of frames that ingest has not confirmed yet. Ingest confirms so often that more are a
/// sender's mistake. An entry with this many still fits into a message of NATS's default size.
const MAX_UNCONFIRMED: usize = 2_000;

/// The totals of one video.
#[derive(Clone, Debug, PartialEq)]
pub struct VideoTotals {
    started: Started,
    /// True until an ingest starts on the video.
    queued: bool,
    cancelled: Option<Cancelled>,
    /// Every frame with a smaller index is confirmed.
    published: u64,
    /// How many frames that is, if ingest said so.
    published_frames: Option<u64>,
    milestones: Milestones,
    /// Frames in the whole video, as its container announces.
    announced: Option<u64>,
    live: Option<LiveStatus>,
    ended: Option<Ended>,
    frames: Frames,
    /// When the video reached its final state, in milliseconds since 1970-01-01 UTC.
    finished_at: Option<u64>,
    /// Failed frames that were analysed after `finished_at`.
    corrections: u64,
    alarms: Alarms,
    /// Every frame with a smaller index is known, where frames are selected by time.
    known_below: u64,
    analytics: Option<AnalyticsSummary>,
    /// Alarms that the fold raised, which judges all rules if one of them is about tracks.
    folded_alarms: u64,
    /// Frames whose results were counted, and not found any more by the fold.
    not_folded: u64,
    repair: Option<RepairState>,
}

/// What an event did to the totals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// It changed them.
    Changed,
    /// They contain it already.
    Duplicate,
    /// The video does not have the event's frame.
    NoSuchFrame,
    /// Too many results are unconfirmed, the video is still queued, or an earlier report of still
    /// frames is missing: apply it again later.
    NotYet,
}

impl VideoTotals {
    /// A video without any result. `rules` apply if its upload has none of its own.
    pub fn new(started: Started, rules: &[AlarmRule]) -> Self {
        Self {
            alarms: Alarms::new(&started, rules),
            started,
            queued: false,
            cancelled: None,
            published: 0,
            published_frames: None,
            milestones: Milestones::default(),
            announced: None,
            live: None,
            ended: None,
            frames: Frames::default(),
            finished_at: None,
            corrections: 0,
            known_below: 0,
            analytics: None,
            folded_alarms: 0,
            not_folded: 0,
            repair: None,
        }
    }

    /// A video that waits for an ingest. Once an ingest starts on it, replace these totals by
    /// [`VideoTotals::new`].
    pub fn queued(upload: Started) -> Self {
        Self { queued: true, ..Self::new(upload, &[]) }
    }

    /// True while the video waits for an ingest.
    pub fn is_queued(&self) -> bool {
        self.queued && self.cancelled.is_none()
    }

    /// Adds an event. `now` is in milliseconds since 1970-01-01 UTC.
    pub fn apply(&mut self, event: &Event, now: u64) -> Applied {
        if self.cancelled.is_some() {
            return Applied::Duplicate;
        }
        let applied = match event {
            Event::Queued(_) | Event::Started(_) => Applied::Duplicate,
            Event::Cancelled(cancelled) => return self.cancel(cancelled, now),
            Event::Lost(lost) => self.lose(&lost.reason),
            _ if self.queued => Applied::NotYet,
            Event::Progress(progress) => self.confirm(progress),
            Event::Carried(carried) => self.carry(carried),
            // What follows its last report is the end.
            Event::Ended(ended)
                if self.is_reported() && self.ended.is_none() && ended.decoded > self.published =>
            {
                Applied::NotYet
            }
            Event::Live(live) => self.update_live(live),
            Event::Ended(ended) if ended.decoded < self.published => {
                let fewer = || {
                    format!(
                        "it ended at frame {}, although more frames were decoded before",
                        ended.decoded
                    )
                };
                let truncated = self.truncated(ended.problem.clone().unwrap_or_else(fewer));
                self.end(Ended { notices: ended.notices.clone(), ..truncated })
            }
            Event::Ended(ended) => self.end(ended.clone()),
            Event::Abandoned(abandoned) => self.end(self.truncated(abandoned.reason.clone())),
            Event::Frame(frame) => self.take(self.analysed(frame)),
            Event::Failed(failed) => self.take(failure(failed)),
        };
        if applied == Applied::Changed {
            self.settle();
            if self.is_complete() {
                self.finished_at.get_or_insert(now);
            }
        }
        applied
    }

    /// Adds an event although the report before it is lost. Still frames that were in that one have
    /// no result then.
    pub fn apply_despite_gap(&mut self, event: &Event, now: u64) -> Applied {
        let known = match event {
            _ if self.queued || self.ended.is_some() => None,
            Event::Carried(carried) => Some(carried.from),
            Event::Ended(ended) if self.is_reported() => Some(ended.decoded),
            _ => None,
        };
        self.published = self.published.max(known.unwrap_or(0));
        self.apply(event, now)
    }

    /// True if reports say more of it than how far it is: which frames are still, or the windows of
    /// a live source.
    fn is_reported(&self) -> bool {
        self.started.selection.skip_still || self.live.is_some()
    }

    fn cancel(&mut self, cancelled: &Cancelled, now: u64) -> Applied {
        if self.finished_at.is_some() {
            return Applied::Duplicate;
        }
        self.cancelled = Some(cancelled.clone());
        self.finished_at = Some(now);
        self.frames.drop_unconfirmed();
        self.alarms.stop();
        Applied::Changed
    }

    fn confirm(&mut self, progress: &Progress) -> Applied {
        let is_new = progress.published > self.published && self.ended.is_none();
        if is_new {
            self.published = progress.published;
            self.published_frames = progress.frames;
            self.add_milestone(progress.published, progress.frames);
            self.announced = progress.announced.or(self.announced);
        }
        changed_if(is_new)
    }

    /// Reports follow each other without a gap: the results that one confirms count at once, and
    /// once for each frame that carries them.
    fn carry(&mut self, carried: &Carried) -> Applied {
        if carried.published <= self.published || self.ended.is_some() {
            return Applied::Duplicate;
        }
        if carried.from > self.published {
            return Applied::NotYet;
        }
        for run in &carried.runs {
            self.frames.carry(run, self.published..carried.published);
        }
        self.confirm(&Progress {
            published: carried.published,
            frames: Some(carried.frames),
            announced: carried.announced,
        })
    }

    fn update_live(&mut self, live: &LiveStatus) -> Applied {
        let is_new =
            self.ended.is_none() && self.live.as_ref().is_none_or(|known| known.at < live.at);
        if is_new {
            // Its frames are those of its windows, which are videos of their own.
            self.published = self.published.max(live.frames);
            self.published_frames = Some(0);
            self.live = Some(live.clone());
        }
        changed_if(is_new)
    }

    /// The end of a video that has nothing but what ingest confirmed.
    fn truncated(&self, problem: String) -> Ended {
        let frames = self
            .published_frames
            .unwrap_or_else(|| self.published.div_ceil(self.started.selection.every.max(1)));
        Ended {
            frames,
            decoded: self.published,
            duration: None,
            problem: Some(problem),
            notices: vec![],
            skipped: None,
        }
    }

    fn end(&mut self, ended: Ended) -> Applied {
        let is_new = self.ended.is_none();
        if is_new {
            self.published = ended.decoded;
            self.add_milestone(ended.decoded, Some(ended.frames));
            self.ended = Some(ended);
        }
        changed_if(is_new)
    }

    /// What a frame's result adds to the totals.
    fn analysed(&self, frame: &FrameResult) -> Unconfirmed {
        let labels = &self.started.labels;
        let counts = |label: &str| labels.is_empty() || labels.iter().any(|of| of == label);
        let mut classes: BTreeMap<String, u64> = BTreeMap::new();
        for object in frame.objects.counted().filter(|object| counts(object.label)) {
            match classes.get_mut(object.label) {
                Some(n) => *n += 1,
                None => drop(classes.insert(object.label.to_owned(), 1)),
            }
        }
        Unconfirmed {
            index: frame.index,
            processing_us: frame.processing_us,
            classes,
            failure: None,
            model: frame.model.clone(),
            matches: self.alarms.matches(frame),
        }
    }

    fn take(&mut self, result: Unconfirmed) -> Applied {
        let index = result.index;
        if self.frames.contain(&result) {
            return Applied::Duplicate;
        }
        let is_beyond_end = self.ended.as_ref().is_some_and(|ended| index >= ended.decoded);
        if is_beyond_end || !index.is_multiple_of(self.started.selection.every.max(1)) {
            return Applied::NoSuchFrame;
        }
        if index >= self.published && self.frames.unconfirmed.len() >= MAX_UNCONFIRMED {
            return Applied::NotYet;
        }
        if self.frames.failed.contains(index) && self.finished_at.is_some() {
            self.corrections += 1 + self.frames.carried_of(index);
        }
        self.frames.unconfirmed.insert(index, result);
        Applied::Changed
    }

    /// Adds what is confirmed to the counts, judges what can be judged, and drops what will never
    /// be confirmed.
    fn settle(&mut self) {
        let matches = self.frames.confirm_below(self.published);
        self.alarms.keep(matches);
        self.judge();
        if self.ended.is_some() {
            self.frames.drop_unconfirmed();
        }
    }

    /// Where frames are selected by time, their indexes do not say how many there are below one.
    fn is_selected_by_time(&self) -> bool {
        self.started.selection.count(0).is_none()
    }

    fn add_milestone(&mut self, published: u64, frames: Option<u64>) {
        if let Some(frames) = frames.filter(|_| self.is_selected_by_time()) {
            self.milestones.add(published, frames);
        }
    }

    /// Judges frames by the alarm rules, up to the first frame without a result.
    fn judge(&mut self) {
        if !self.is_selected_by_time() {
            let every = self.started.selection.every.max(1);
            return self.alarms.judge(every, |index| self.frames.status(index));
        }
        let settled = |below| self.frames.settled_below(below);
        let known = self.milestones.last_reached(settled);
        self.known_below = known.unwrap_or(0).max(self.known_below);
        if let Some(below) = self.milestones.reached(settled, self.alarms.is_full()) {
            let frames = self.frames.settled_between(self.alarms.next(), below);
            self.alarms.judge_below(below, frames);
        }
    }

    /// The settled frames from index `next` on that can be folded: all before them are settled,
    /// too. Each comes with true if it was analysed.
    pub fn settled_from(&self, next: u64) -> impl Iterator<Item = (u64, bool)> + Send + use<> {
        let end = match &self.ended {
            Some(ended) if self.is_complete() => ended.decoded,
            _ if self.is_selected_by_time() => self.known_below,
            _ => self.frames.first_unsettled(next, self.started.selection.every.max(1)),
        };
        self.frames.settled_between(next, end)
    }

    /// True if the frame carries the objects of another one.
    pub fn is_carried(&self, index: u64) -> bool {
        self.frames.carried.contains(index)
    }

    /// True once a frame has a result.
    pub fn is_begun(&self) -> bool {
        self.frames.settled() > 0
    }

    /// True once every frame has a result.
    pub fn is_complete(&self) -> bool {
        self.ended.as_ref().is_some_and(|ended| self.frames.settled() >= ended.frames)
    }

    /// True once nothing can be added to the video any more.
    pub fn is_over(&self) -> bool {
        self.cancelled.is_some() || self.is_complete()
    }

    /// How the video started.
    pub fn started(&self) -> &Started {
        &self.started
    }

    /// Of a live source: the window that was opened last.
    pub fn last_window(&self) -> Option<&VideoId> {
        self.live.as_ref()?.last.as_ref()
    }

    /// Records what the results up to now come to.
    /// `alarms` were raised by the fold; `missing` results were counted and not found any more.
    pub fn set_analytics(&mut self, analytics: AnalyticsSummary, alarms: u64, missing: u64) {
        self.analytics = Some(analytics);
        (self.folded_alarms, self.not_folded) = (alarms, missing);
    }

    /// What the results up to now come to, if they are tracked.
    pub fn analytics(&self) -> Option<&AnalyticsSummary> {
        self.analytics.as_ref()
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

    /// Raised alarms that are not [marked as published](Self::mark_alarms_published), in the order
    /// of their frames.
    pub fn unpublished_alarms(&self, video: &VideoId) -> Vec<Alarm> {
        self.alarms.unpublished(video, &self.started.name)
    }

    /// Records that the first `n` of the unpublished alarms are published.
    pub fn mark_alarms_published(&mut self, n: usize) {
        self.alarms.mark_published(n);
    }
}

fn failure(failed: &Failed) -> Unconfirmed {
    Unconfirmed {
        index: failed.index,
        processing_us: 0,
        classes: BTreeMap::new(),
        failure: Some(failed.reason.clone()),
        model: None,
        matches: vec![],
    }
}

fn changed_if(is_new: bool) -> Applied {
    if is_new { Applied::Changed } else { Applied::Duplicate }
}

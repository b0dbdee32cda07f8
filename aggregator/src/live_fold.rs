//! The fold over a video's results, as they are counted: what follows from all frames up to the
//! first one without a result.
//!
//! The fold is a pure function of the results in frame order, so its state is a cache. It is
//! stored now and then in the bucket `folds`, and an aggregator that takes a video over continues
//! from there: it reads what was counted since from the log. What is published twice on the way
//! has the same numbers, and is stored once.
//!
//! A window of a live source continues the fold of the window before it. So it waits for the end of
//! that one, whose state stays in the bucket.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::jetstream::kv;
use bytes::Bytes;
use moliceiro_analytics::{Finding, Fold, Rules, VideoTotals};
use moliceiro_nats::messages::{
    Alarm, AlarmRule, AnalyticsSummary, Carried, FrameResult, Started, TrackRecord, TrackerKind,
    VERSION, VideoTrack,
};
use moliceiro_nats::{DetectionsError, KnownVideo, Streams, VideoError, VideoId};
use moliceiro_replay::{StoredResults, fold_frame, rules_of};
use thiserror::Error;
use tokio::task::JoinHandle;
use tracing::{debug, warn};

use crate::counter::step::MAX_ALARMS;
use crate::metrics::Metrics;
use crate::ordered_publisher::{publish_alarms, publish_tracks};
use crate::publication::PublicationError;

/// Between the frames of two windows: with a longer gap, nobody knows who is the same one.
const LONGEST_GAP_MS: u64 = 2_000;
/// How often the state is stored while results come.
const WRITE_INTERVAL: Duration = Duration::from_secs(1);
/// Tracks of one video that are published in one go.
const MAX_TRACKS: usize = 100;
/// With more tracks than this, results wait for their publication.
const MOST_WAITING_TRACKS: usize = 1_000;
/// A larger state is not stored: messages are limited to 1 MiB by default.
const MOST_BYTES: usize = 900_000;

/// The fold of one video, and what it found since that was last published.
pub(crate) struct LiveFold {
    rules: Rules,
    fold: Fold,
    results: StoredResults,
    /// The revision of the stored state.
    revision: Option<u64>,
    written_at: Instant,
    is_ended: bool,
    /// The window before it, until that has ended.
    predecessor: Option<VideoId>,
    /// The window before it, if nothing that was in its picture can be in this one's, until the
    /// tracks that were open at its end are published.
    left_behind: Option<VideoId>,
    is_window: bool,
    /// Results that were counted and are not stored any more.
    missing: u64,
    found: Found,
    /// The first tracks of those found, while other results are counted.
    publishing: Option<Publishing>,
}

struct Publishing {
    tracks: usize,
    task: JoinHandle<Result<(), PublicationError>>,
}

/// What was found in a video, and is not published.
struct Found {
    video: VideoId,
    name: String,
    alarms: VecDeque<Alarm>,
    tracks: VecDeque<TrackRecord>,
}

impl Found {
    fn keep(&mut self, finding: Finding) {
        match finding {
            Finding::Alarm(alarm) => self.alarms.push_back(alarm.of(&self.video, &self.name)),
            Finding::Track(track) => self.tracks.push_back(track),
            // Each track has its crossings and visits.
            Finding::Observed(_) | Finding::Crossing(_) | Finding::Visit(_) => {}
        }
    }

    fn is_empty(&self) -> bool {
        self.alarms.is_empty() && self.tracks.is_empty()
    }
}

impl LiveFold {
    /// Continues from the stored state if the video is resumed, or begins. Returns `None` if nothing
    /// is asked of the video.
    pub(crate) async fn load(
        streams: &Streams,
        video: &VideoId,
        totals: &VideoTotals,
        defaults: &[AlarmRule],
        is_resumed: bool,
    ) -> Result<Option<Self>, FoldError> {
        let rules = alarmless_unless_tracked(rules_of(totals.started(), defaults));
        if rules.tracker == TrackerKind::None {
            return Ok(None);
        }
        let fresh = Fold::new(&rules);
        let stored = if is_resumed { streams.folds.entry(video.as_str()).await? } else { None };
        let revision = stored.as_ref().map(|stored| stored.revision);
        let stored = stored
            .filter(|stored| stored.operation == kv::Operation::Put)
            .and_then(|stored| match Fold::from_bytes(&stored.value) {
                Ok(fold) => Some(fold),
                Err(error) => {
                    debug!(%video, %error, "folding the results of a video from the first one");
                    None
                }
            })
            .filter(|fold| fold.rules() == fresh.rules());
        let window = totals.started().window.as_ref();
        let follows = window.and_then(|window| window.follows.clone());
        Ok(Some(Self {
            is_window: window.is_some(),
            predecessor: follows.filter(|_| stored.is_none()),
            left_behind: None,
            fold: stored.unwrap_or(fresh),
            rules,
            results: StoredResults::new(streams, video),
            revision,
            written_at: Instant::now(),
            is_ended: false,
            missing: 0,
            found: Found {
                video: video.clone(),
                name: totals.started().name.clone(),
                alarms: VecDeque::new(),
                tracks: VecDeque::new(),
            },
            publishing: None,
        }))
    }

    /// Folds all frames that can be folded now. `counted` are results that the totals contain
    /// since the last call, and `carried` reports of still frames.
    pub(crate) async fn advance(
        &mut self,
        streams: &Streams,
        totals: &VideoTotals,
        counted: impl Iterator<Item = FrameResult>,
        carried: impl Iterator<Item = &Carried>,
    ) -> Result<(), FoldError> {
        self.results.refresh();
        for frame in counted {
            // It had failed, and other frames were folded without it.
            if frame.index < self.fold.next_frame() {
                self.restart(streams, totals.started());
            }
            self.results.offer(frame);
        }
        carried.for_each(|carried| self.results.offer_carried(carried));
        self.continue_predecessor(streams, totals.started()).await?;
        if self.predecessor.is_some() {
            return Ok(());
        }
        for (index, is_analysed) in totals.settled_from(self.fold.next_frame()) {
            let frame = if is_analysed { self.results.of(index).await? } else { None };
            match frame {
                Some(frame) => self.fold_result(&frame),
                None => {
                    self.missing += u64::from(is_analysed);
                    self.fold.failed(index, None);
                }
            }
        }
        if totals.is_complete() && !self.is_ended {
            self.is_ended = true;
            // The next window continues it.
            if self.is_window {
                return Ok(());
            }
            let Self { fold, found, .. } = self;
            fold.end(&mut |finding| found.keep(finding));
        }
        Ok(())
    }

    /// Continues the fold of the window before this one, once that has ended.
    async fn continue_predecessor(
        &mut self,
        streams: &Streams,
        started: &Started,
    ) -> Result<(), FoldError> {
        let Some(before) = self.predecessor.clone() else { return Ok(()) };
        let entry = match streams.videos().find(&before).await? {
            Some(KnownVideo::Entry(entry)) if entry.summary_published => Some(entry),
            Some(_) => return Ok(()),
            // It was deleted.
            None => None,
        };
        if let Some(entry) = entry
            && let Some(mut fold) = stored_fold(streams, &before).await?
        {
            let ended_at = entry
                .ended
                .and_then(|ended| ended.duration)
                .map(|duration| entry.started.uploaded_at.saturating_add(duration / 1_000_000));
            let gap = started.uploaded_at.saturating_sub(ended_at.unwrap_or(0));
            if gap > LONGEST_GAP_MS {
                fold.end(&mut drop);
                self.left_behind = Some(before);
            }
            self.fold = Fold::continue_from(fold, &self.rules);
        }
        self.predecessor = None;
        Ok(())
    }

    fn fold_result(&mut self, frame: &FrameResult) {
        let Self { fold, found, .. } = self;
        fold_frame(fold, frame, None, &mut |finding| found.keep(finding));
    }

    fn restart(&mut self, streams: &Streams, started: &Started) {
        self.fold = Fold::new(&self.rules);
        self.predecessor = started.window.as_ref().and_then(|window| window.follows.clone());
        self.results = StoredResults::new(streams, &self.found.video);
        (self.is_ended, self.missing) = (false, 0);
        self.found.alarms.clear();
        self.found.tracks.clear();
        self.publishing = None;
    }

    /// Records in the totals what the frames up to now come to.
    pub(crate) fn report(&self, totals: &mut VideoTotals) {
        totals.set_analytics(self.fold.summary(), self.fold.alarms(), self.missing);
    }

    /// Publishes what was found, and then stores the state now and then. Tracks are published while
    /// the next results are counted: what is not published is found again from the stored state.
    pub(crate) async fn publish(
        &mut self,
        streams: &Streams,
        metrics: &Arc<Metrics>,
        on_alarm: &mut impl FnMut(&Alarm),
    ) -> Result<Progress, FoldError> {
        if let Some(before) = &self.left_behind {
            publish_open_tracks(streams, metrics, before).await?;
            self.left_behind = None;
        }
        let Found { video, alarms, tracks, .. } = &mut self.found;
        let next: Vec<_> = alarms.iter().take(MAX_ALARMS).cloned().collect();
        publish_alarms(streams, metrics, video, &next, on_alarm).await?;
        alarms.drain(..next.len());
        let is_write_due = self.written_at.elapsed() >= WRITE_INTERVAL;
        let waits = self.is_ended || is_write_due || tracks.len() > MOST_WAITING_TRACKS;
        if waits || self.publishing.as_ref().is_some_and(|now| now.task.is_finished()) {
            self.finish_publishing().await?;
        }
        self.start_publishing(streams, metrics);
        if waits {
            self.finish_publishing().await?;
            if !self.found.is_empty() {
                return Ok(Progress::More);
            }
        }
        if !self.found.alarms.is_empty() {
            return Ok(Progress::More);
        }
        if self.predecessor.is_some() {
            return Ok(Progress::Waiting);
        }
        // The summary of one that has ended is next. A short video leaves nothing to be deleted.
        if is_write_due && !self.is_ended && self.fold.next_frame() > 0 {
            self.store(streams).await;
        }
        Ok(Progress::All)
    }

    fn start_publishing(&mut self, streams: &Streams, metrics: &Arc<Metrics>) {
        let Found { video, name, tracks, .. } = &self.found;
        if self.publishing.is_some() || tracks.is_empty() {
            return;
        }
        let next = tracks.iter().take(MAX_TRACKS).cloned();
        let next: Vec<_> = next.map(|track| of_video(track, video, name)).collect();
        let (streams, metrics, video) = (streams.clone(), Arc::clone(metrics), video.clone());
        self.publishing = Some(Publishing {
            tracks: next.len(),
            task: tokio::spawn(
                async move { publish_tracks(&streams, &metrics, &video, &next).await },
            ),
        });
    }

    async fn finish_publishing(&mut self) -> Result<(), PublicationError> {
        if let Some(Publishing { tracks, task }) = self.publishing.take() {
            task.await??;
            self.found.tracks.drain(..tracks);
        }
        Ok(())
    }

    /// Failing only means that an aggregator that takes over has to fold more results.
    async fn store(&mut self, streams: &Streams) {
        self.written_at = Instant::now();
        let bytes = self.fold.to_bytes();
        if bytes.len() > MOST_BYTES {
            return;
        }
        let (key, value) = (self.found.video.as_str(), Bytes::from(bytes));
        let written = match self.revision {
            Some(revision) => streams.folds.update(key, value, revision).await.map_err(drop),
            None => streams.folds.create(key, value).await.map_err(drop),
        };
        match written {
            Ok(revision) => self.revision = Some(revision),
            // Another aggregator works on the video, too, and stores the same.
            Err(()) => {
                let stored = streams.folds.entry(key).await.ok().flatten();
                self.revision = stored.map(|stored| stored.revision);
            }
        }
    }

    /// The video is finished, and its summary is about to be published.
    pub(crate) async fn finish(&mut self, streams: &Streams) {
        if self.is_window {
            let bytes = Bytes::from(self.fold.to_bytes());
            if let Err(error) = streams.folds.put(self.found.video.as_str(), bytes).await {
                warn!(video = %self.found.video, %error, "the next window begins without tracks");
            }
        }
    }

    /// The summary is published.
    pub(crate) async fn delete(self, streams: &Streams) {
        if !self.is_window
            && self.revision.is_some()
            && let Err(error) = streams.folds.purge(self.found.video.as_str()).await
        {
            warn!(video = %self.found.video, %error, "cannot delete the state of the fold of a video");
        }
    }
}

/// How much of what was found is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    All,
    /// There is more than may hold up other videos: publish again.
    More,
    /// The window before this one has not ended.
    Waiting,
}

/// Why results cannot be folded now.
#[derive(Debug, Error)]
pub(crate) enum FoldError {
    #[error(transparent)]
    Results(#[from] DetectionsError),
    #[error(transparent)]
    Video(#[from] VideoError),
    #[error("the bucket of folds cannot be read: {0}")]
    Bucket(#[from] kv::EntryError),
    #[error(transparent)]
    Publication(#[from] PublicationError),
}

async fn stored_fold(streams: &Streams, video: &VideoId) -> Result<Option<Fold>, FoldError> {
    let stored = streams.folds.get(video.as_str()).await?;
    Ok(stored.and_then(|bytes| Fold::from_bytes(&bytes).ok()))
}

fn of_video(track: TrackRecord, video: &VideoId, name: &str) -> VideoTrack {
    VideoTrack { version: VERSION, video: video.clone(), name: name.to_owned(), track }
}

/// Publishes the tracks that were open at the end of a window which no other continues, once its
/// summary is published. Does nothing before that.
pub(crate) async fn publish_open_tracks(
    streams: &Streams,
    metrics: &Metrics,
    window: &VideoId,
) -> Result<(), FoldError> {
    let entry = streams.videos().entry(window).await?.filter(|entry| entry.summary_published);
    let Some((entry, mut fold)) = entry.zip(stored_fold(streams, window).await?) else {
        return Ok(());
    };
    let mut tracks = Vec::new();
    fold.end(&mut |finding| {
        if let Finding::Track(track) = finding {
            tracks.push(of_video(track, window, &entry.started.name));
        }
    });
    Ok(publish_tracks(streams, metrics, window, &tracks).await?)
}

/// What the windows of a live source come to, as of the last state of the last one, or of the one
/// before it until there is one; and true once the last one has ended. `is_over`: no window will
/// follow it.
pub(crate) async fn of_source(
    streams: &Streams,
    last: &VideoId,
    last_before: Option<VideoId>,
    is_over: bool,
) -> Result<(Option<AnalyticsSummary>, bool), FoldError> {
    let entry = streams.videos().entry(last).await?;
    let has_ended = entry.as_ref().is_some_and(|entry| entry.summary_published);
    // A window has an entry a moment after its source names it.
    let before = match entry {
        Some(entry) => entry.started.window.and_then(|window| window.follows),
        None => last_before,
    };
    let fold = match (stored_fold(streams, last).await?, before) {
        (None, Some(before)) if !has_ended => stored_fold(streams, &before).await?,
        (fold, _) => fold,
    };
    let analytics = fold.map(|mut fold| {
        if is_over && has_ended {
            fold.end(&mut drop);
        }
        fold.source_summary()
    });
    Ok((analytics, has_ended))
}

/// If no rule is about tracks, the totals judge all of them.
fn alarmless_unless_tracked(mut rules: Rules) -> Rules {
    if !rules.alarms.iter().any(AlarmRule::needs_tracks) {
        rules.alarms.clear();
    }
    rules
}

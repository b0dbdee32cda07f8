//! The fold over a video's results, as they are counted: what follows from all frames up to the
//! first one without a result.
//!
//! The fold is a pure function of the results in frame order, so its state is a cache. It is
//! stored now and then in the bucket `folds`, and an aggregator that takes a video over continues
//! from there: it reads what was counted since from the log. What is published twice on the way
//! has the same numbers, and is stored once.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use async_nats::jetstream::kv;
use bytes::Bytes;
use moliceiro_analytics::{Finding, Fold, Rules, VideoTotals};
use moliceiro_nats::messages::{
    Alarm, AlarmRule, FrameResult, TrackRecord, TrackerKind, VERSION, VideoTrack,
};
use moliceiro_nats::{DetectionsError, Streams, VideoId};
use moliceiro_replay::{StoredResults, fold_frame, rules_of};
use tracing::{debug, warn};

use crate::counter::step::MAX_ALARMS;
use crate::metrics::Metrics;
use crate::ordered_publisher::{publish_alarms, publish_tracks};
use crate::publication::PublicationError;

/// How often the state is stored while results come.
const WRITE_INTERVAL: Duration = Duration::from_secs(1);
/// Tracks of one video that are published in one go.
const MAX_TRACKS: usize = 100;
/// A larger state is not stored: messages are limited to 1 MiB by default.
const MOST_BYTES: usize = 900_000;

/// The fold of one video, and what it found since that was last published.
pub(crate) struct LiveFold {
    video: VideoId,
    name: String,
    rules: Rules,
    fold: Fold,
    results: StoredResults,
    /// The revision of the stored state.
    revision: Option<u64>,
    written_at: Instant,
    is_ended: bool,
    /// Results that were counted and are not stored any more.
    missing: u64,
    alarms: VecDeque<Alarm>,
    tracks: VecDeque<TrackRecord>,
}

impl LiveFold {
    /// Continues from the stored state if the video is resumed, or begins. Returns `None` if nothing is asked of the
    /// video.
    pub(crate) async fn load(
        streams: &Streams,
        video: &VideoId,
        totals: &VideoTotals,
        defaults: &[AlarmRule],
        is_resumed: bool,
    ) -> Result<Option<Self>, kv::EntryError> {
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
        Ok(Some(Self {
            video: video.clone(),
            name: totals.started().name.clone(),
            fold: stored.unwrap_or(fresh),
            rules,
            results: StoredResults::new(streams, video),
            revision,
            written_at: Instant::now(),
            is_ended: false,
            missing: 0,
            alarms: VecDeque::new(),
            tracks: VecDeque::new(),
        }))
    }

    /// Folds all frames that can be folded now. `counted` are results that the totals contain
    /// since the last call.
    pub(crate) async fn advance(
        &mut self,
        streams: &Streams,
        totals: &VideoTotals,
        counted: impl Iterator<Item = FrameResult>,
    ) -> Result<(), DetectionsError> {
        self.results.refresh();
        for frame in counted {
            // It had failed, and other frames were folded without it.
            if frame.index < self.fold.next_frame() {
                self.restart(streams);
            }
            self.results.offer(frame);
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
            let Self { fold, alarms, tracks, video, name, .. } = self;
            fold.end(&mut |finding| keep(finding, alarms, tracks, video, name));
        }
        Ok(())
    }

    fn fold_result(&mut self, frame: &FrameResult) {
        let Self { fold, alarms, tracks, video, name, .. } = self;
        fold_frame(fold, frame, None, &mut |finding| keep(finding, alarms, tracks, video, name));
    }

    fn restart(&mut self, streams: &Streams) {
        self.fold = Fold::new(&self.rules);
        self.results = StoredResults::new(streams, &self.video);
        (self.is_ended, self.missing) = (false, 0);
        self.alarms.clear();
        self.tracks.clear();
    }

    /// Records in the totals what the frames up to now come to.
    pub(crate) fn report(&self, totals: &mut VideoTotals) {
        totals.set_analytics(self.fold.summary(), self.fold.alarms(), self.missing);
    }

    /// Publishes what was found, and then stores the state now and then. Returns false if there is
    /// more than may hold up other videos: call it again.
    pub(crate) async fn publish(
        &mut self,
        streams: &Streams,
        metrics: &Metrics,
        on_alarm: &mut impl FnMut(&Alarm),
    ) -> Result<bool, PublicationError> {
        let alarms: Vec<_> = self.alarms.iter().take(MAX_ALARMS).cloned().collect();
        publish_alarms(streams, metrics, &self.video, &alarms, on_alarm).await?;
        self.alarms.drain(..alarms.len());
        let track = |track: &TrackRecord| VideoTrack {
            version: VERSION,
            video: self.video.clone(),
            name: self.name.clone(),
            track: track.clone(),
        };
        let tracks: Vec<_> = self.tracks.iter().take(MAX_TRACKS).map(track).collect();
        publish_tracks(streams, metrics, &self.video, &tracks).await?;
        self.tracks.drain(..tracks.len());
        let is_all = self.alarms.is_empty() && self.tracks.is_empty();
        if is_all {
            self.store(streams).await;
        }
        Ok(is_all)
    }

    /// Failing only means that an aggregator that takes over has to fold more results.
    async fn store(&mut self, streams: &Streams) {
        if self.written_at.elapsed() < WRITE_INTERVAL {
            return;
        }
        self.written_at = Instant::now();
        let bytes = self.fold.to_bytes();
        if bytes.len() > MOST_BYTES {
            return;
        }
        let (key, value) = (self.video.as_str(), Bytes::from(bytes));
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

    /// The video is finished.
    pub(crate) async fn delete(self, streams: &Streams) {
        if self.revision.is_some()
            && let Err(error) = streams.folds.purge(self.video.as_str()).await
        {
            warn!(video = %self.video, %error, "cannot delete the state of the fold of a video");
        }
    }
}

/// If no rule is about tracks, the totals judge all of them.
fn alarmless_unless_tracked(mut rules: Rules) -> Rules {
    if !rules.alarms.iter().any(AlarmRule::needs_tracks) {
        rules.alarms.clear();
    }
    rules
}

fn keep(
    finding: Finding,
    alarms: &mut VecDeque<Alarm>,
    tracks: &mut VecDeque<TrackRecord>,
    video: &VideoId,
    name: &str,
) {
    match finding {
        Finding::Alarm(alarm) => alarms.push_back(alarm.of(video, name)),
        Finding::Track(track) => tracks.push_back(track),
        // Each track has its crossings and visits.
        Finding::Observed(_) | Finding::Crossing(_) | Finding::Visit(_) => {}
    }
}

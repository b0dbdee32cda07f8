//! The steps of counting one video's results, in order. Each consumes the value of the step before:
//!
//! [`apply`] → [`AppliedResults::fold`] → [`FoldedResults::write`] → [`WrittenTotals::publish`] → [`PublishedTotals::finish`]
//!
//! Only the last step returns what to acknowledge.

use std::sync::Arc;
use std::time::Duration;

use moliceiro_analytics::{Applied, VideoTotals, left_out};
use moliceiro_nats::messages::{
    Alarm, AlarmRule, Event, Started, Summary, TrackerKind, VideoEntry, VideoState,
    milliseconds_now,
};
use moliceiro_nats::{Streams, VideoId, subjects};
use thiserror::Error;
use tracing::warn;

use crate::entries::{Entries, EntryError};
use crate::live_fold::{FoldError, LiveFold, Progress, of_source, publish_open_tracks};
use crate::metrics::Metrics;
use crate::ordered_publisher::publish_alarms;
use crate::output::Publication;
use crate::publication::PublicationError;
use crate::result_message::{Disposition, ResultMessage};
use crate::summary_publisher::publish_summary;

const NOT_YET_RETRY: Duration = Duration::from_secs(1);

/// A report of still frames that was not stored after so many deliveries is lost.
const MOST_DELIVERIES_OF_LATER: i64 = 60;

/// Alarms of one video that are published in one go: one after the other, while other videos wait.
pub(crate) const MAX_ALARMS: usize = 100;
const PREDECESSOR_RETRY: Duration = Duration::from_millis(500);
/// A live source does not wait for its last window for longer than this many deliveries of its end.
const MOST_DELIVERIES: i64 = 120;
pub(super) const MORE_ALARMS_RETRY: Duration = Duration::from_millis(10);

#[derive(Debug, Error)]
pub(super) enum CountError {
    #[error(transparent)]
    Entry(#[from] EntryError),
    #[error(transparent)]
    Publication(#[from] PublicationError),
    #[error(transparent)]
    Fold(#[from] FoldError),
}

impl CountError {
    /// False if the same results will fail again.
    pub(super) fn is_transient(&self) -> bool {
        match self {
            Self::Entry(error) => error.is_conflict() || error.is_unavailable(),
            Self::Publication(error) | Self::Fold(FoldError::Publication(error)) => {
                matches!(error, PublicationError::Lookup { .. })
            }
            Self::Fold(_) => true,
        }
    }
}

/// A video's totals and the state of its entry.
pub(super) struct StoredTotals {
    totals: VideoTotals,
    /// The revision of the entry that stores them; `None` before the first write.
    revision: Option<u64>,
    summary_published: bool,
    /// The corrections in the published summary.
    corrections_published: u64,
    /// Left out until the first result that may be folded, and where nothing is tracked.
    fold: Option<LiveFold>,
    is_fold_loaded: bool,
    /// Counted from the log, because the entry was lost: its summary may be published already.
    is_rebuilt: bool,
}

/// Totals with a batch of results in them, which are not stored yet.
pub(super) struct AppliedResults {
    stored: StoredTotals,
    dispositions: Vec<Disposition>,
    changed: bool,
    /// True if some frames had been counted before these results.
    is_resumed: bool,
    /// Of a live source: its last window before these results.
    last_before: Option<VideoId>,
}

/// As [`AppliedResults`], with what follows from all frames up to the first one without a result.
pub(super) struct FoldedResults {
    stored: StoredTotals,
    dispositions: Vec<Disposition>,
    changed: bool,
    /// Of a live source: whether its last window has ended.
    source: Progress,
}

/// Totals that are stored: what follows from them may be published.
pub(super) struct WrittenTotals {
    stored: StoredTotals,
    dispositions: Vec<Disposition>,
    source: Progress,
}

/// Totals whose alarms and summary are published: their results may be acknowledged.
pub(super) struct PublishedTotals {
    stored: StoredTotals,
    dispositions: Vec<Disposition>,
}

impl StoredTotals {
    pub(super) fn loaded(
        totals: VideoTotals,
        revision: u64,
        summary_published: bool,
        corrections_published: u64,
    ) -> Self {
        Self { summary_published, corrections_published, ..Self::new(totals, Some(revision)) }
    }

    /// Totals that replace a lost entry. `revision` is that of a damaged one.
    pub(super) fn rebuilt(totals: VideoTotals, revision: Option<u64>) -> Self {
        Self { is_rebuilt: true, ..Self::new(totals, revision) }
    }

    fn new(totals: VideoTotals, revision: Option<u64>) -> Self {
        Self {
            totals,
            revision,
            summary_published: false,
            corrections_published: 0,
            fold: None,
            is_fold_loaded: false,
            is_rebuilt: false,
        }
    }

    /// True once the summary is published.
    pub(super) fn is_finished(&self) -> bool {
        self.summary_published
    }

    /// Writes an entry whose results are not all stored any more, and whose summary is: that holds.
    pub(super) async fn write_with(
        mut self,
        entries: &Entries,
        summary: Summary,
    ) -> Result<(), EntryError> {
        let video = summary.video.clone();
        let started_at = self.totals.started().uploaded_at;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it saturates")]
        let wall_time = (summary.wall_time_s * 1e3) as u64;
        let entry = VideoEntry {
            state: summary.state,
            counted: summary.processed_frames,
            failed: summary.failed_frames,
            failures: summary.failed.clone(),
            classes: summary.classes.clone(),
            corrections: summary.corrections,
            finished_at: Some(started_at.saturating_add(wall_time)),
            summary: Some(summary),
            ..self.totals.to_entry(&video, true)
        };
        self.revision = Some(entries.write(&entry, self.revision).await?);
        Ok(())
    }

    async fn write(&mut self, entries: &Entries, video: &VideoId) -> Result<(), EntryError> {
        let entry = self.totals.to_entry(video, self.summary_published);
        self.revision = Some(entries.write(&entry, self.revision).await?);
        Ok(())
    }
}

/// Adds results to the totals of their video. Returns `None` if the video is unknown: it does not
/// have an entry, and none of the results starts it.
pub(super) fn apply(
    stored: Option<StoredTotals>,
    results: &[ResultMessage],
    rules: &[AlarmRule],
) -> Option<AppliedResults> {
    let (mut stored, mut changed) = start(stored, results, rules)?;
    let now = milliseconds_now();
    let is_resumed = stored.totals.is_begun();
    let last_before = stored.totals.last_window().cloned();
    let mut dispositions = Vec::with_capacity(results.len());
    for result in results {
        let event = &result.event().event;
        let at = result.stored_at().unwrap_or(now);
        let is_lost = result.deliveries().is_some_and(|n| n > MOST_DELIVERIES_OF_LATER);
        let applied = match stored.totals.apply(event, at) {
            Applied::NotYet if is_lost => stored.totals.apply_despite_gap(event, at),
            applied => applied,
        };
        dispositions.push(match applied {
            Applied::Changed => {
                changed = true;
                Disposition::Counted
            }
            Applied::Duplicate => Disposition::Duplicate,
            Applied::NoSuchFrame => Disposition::Drop("its video has no such frame"),
            Applied::NotYet => Disposition::Retry(NOT_YET_RETRY),
        });
    }
    Some(AppliedResults { stored, dispositions, changed, is_resumed, last_before })
}

/// The totals as they are stored, or as the first of these results starts them; and true if that
/// changes them.
fn start(
    stored: Option<StoredTotals>,
    results: &[ResultMessage],
    rules: &[AlarmRule],
) -> Option<(StoredTotals, bool)> {
    let first = |of: fn(&Event) -> Option<&Started>| {
        results.iter().find_map(|result| of(&result.event().event)).cloned()
    };
    let started =
        || first(|event| if let Event::Started(started) = event { Some(started) } else { None });
    let queued =
        || first(|event| if let Event::Queued(queued) = event { Some(queued) } else { None });
    match stored {
        Some(stored) if !stored.totals.is_queued() => Some((stored, false)),
        Some(stored) => match started() {
            Some(started) => {
                report_left_out(results, &started, rules);
                let totals = VideoTotals::new(started, rules);
                Some((StoredTotals::new(totals, stored.revision), true))
            }
            None => Some((stored, false)),
        },
        None => {
            let totals = started()
                .map(|started| {
                    report_left_out(results, &started, rules);
                    VideoTotals::new(started, rules)
                })
                .or_else(|| queued().map(VideoTotals::queued))?;
            Some((StoredTotals::new(totals, None), true))
        }
    }
}

/// A rule of the settings that cannot hold in a video is not left out silently.
fn report_left_out(results: &[ResultMessage], started: &Started, rules: &[AlarmRule]) {
    let rules: Vec<_> = left_out(started, rules).into_iter().map(AlarmRule::to_string).collect();
    if let Some(result) = results.first().filter(|_| !rules.is_empty()) {
        warn!(
            video = %result.event().video,
            ?rules,
            "rules of aggregator.alarms do not hold in this video: it does not have their lines, \
             zones, tracks or classes"
        );
    }
}

impl AppliedResults {
    /// Folds the frames that can be folded now. `results` are those that were applied.
    pub(super) async fn fold(
        self,
        streams: &Streams,
        video: &VideoId,
        rules: &[AlarmRule],
        results: &[ResultMessage],
    ) -> Result<FoldedResults, CountError> {
        let Self { mut stored, dispositions, changed, is_resumed, last_before } = self;
        // What an earlier attempt has counted may still have to be published.
        let is_open = changed || !stored.summary_published;
        let is_folded = is_open && !stored.totals.is_queued();
        let mut source = Progress::All;
        let is_tracked = stored.totals.started().tracking.tracker() != TrackerKind::None;
        let last = stored.totals.last_window().filter(|_| is_folded && is_tracked).cloned();
        if let Some(last) = last {
            let is_over = stored.totals.is_over();
            let (analytics, has_ended) = of_source(streams, &last, last_before, is_over).await?;
            let is_patient = results
                .iter()
                .all(|result| result.deliveries().is_some_and(|n| n < MOST_DELIVERIES));
            if !has_ended && is_patient {
                source = Progress::Waiting;
            }
            if let Some(analytics) = analytics {
                stored.totals.set_analytics(analytics, 0, 0);
            }
            // Until its first window, it was a video without frames, whose fold has nothing.
            if let Some(fold) = stored.fold.take() {
                fold.delete(streams).await;
            }
        } else if is_folded && !stored.is_fold_loaded {
            stored.fold = LiveFold::load(streams, video, &stored.totals, rules, is_resumed).await?;
            stored.is_fold_loaded = true;
        }
        if let Some(fold) = stored.fold.as_mut().filter(|_| is_folded) {
            let counted = results.iter().zip(&dispositions).filter_map(|(result, disposition)| {
                match (&result.event().event, disposition) {
                    (Event::Frame(frame), Disposition::Counted) => Some(frame.clone()),
                    _ => None,
                }
            });
            let carried = results.iter().filter_map(|result| match &result.event().event {
                Event::Carried(carried) => Some(carried),
                _ => None,
            });
            fold.advance(streams, &stored.totals, counted, carried).await?;
            fold.report(&mut stored.totals);
        }
        Ok(FoldedResults { stored, dispositions, changed, source })
    }
}

impl FoldedResults {
    /// Writes the totals, if they changed.
    pub(super) async fn write(
        mut self,
        entries: &Entries,
        video: &VideoId,
    ) -> Result<WrittenTotals, CountError> {
        if self.changed {
            let stored = &mut self.stored;
            // A correction makes a new summary.
            stored.summary_published = stored.summary_published
                && stored
                    .totals
                    .summary(video)
                    .is_some_and(|summary| summary.corrections == stored.corrections_published);
            stored.write(entries, video).await?;
        }
        let Self { stored, dispositions, source, .. } = self;
        Ok(WrittenTotals { stored, dispositions, source })
    }
}

impl WrittenTotals {
    /// Publishes alarms and, once every frame is counted, the summary.
    ///
    /// If there are more alarms than may hold up other videos, the last result is redelivered, and
    /// the rest is published then.
    pub(super) async fn publish(
        mut self,
        streams: &Streams,
        entries: &Entries,
        metrics: &Arc<Metrics>,
        video: &VideoId,
        on_publication: &mut impl FnMut(Publication<'_>),
    ) -> Result<PublishedTotals, CountError> {
        let mut on_alarm = |alarm: &Alarm| on_publication(Publication::Alarm(alarm));
        let alarms = self.stored.totals.unpublished_alarms(video);
        let next = &alarms[..alarms.len().min(MAX_ALARMS)];
        publish_alarms(streams, metrics, video, next, &mut on_alarm).await?;
        self.stored.totals.mark_alarms_published(next.len());
        let mut progress = match &mut self.stored.fold {
            Some(fold) => fold.publish(streams, metrics, &mut on_alarm).await?,
            None => self.source,
        };
        if let Some(last) = self.stored.totals.last_window()
            && self.stored.totals.is_over()
        {
            publish_open_tracks(streams, metrics, last).await?;
        }
        if next.len() < alarms.len() {
            progress = Progress::More;
        }
        if progress == Progress::Waiting && self.stored.totals.state() == VideoState::Cancelled {
            progress = Progress::All;
        }
        let retry = match progress {
            Progress::All => None,
            Progress::More => Some(MORE_ALARMS_RETRY),
            // Without it, the summary would be published before its tracks are known.
            Progress::Waiting => self.stored.totals.is_complete().then_some(PREDECESSOR_RETRY),
        };
        if let Some(pause) = retry {
            if let Some(last) = self.dispositions.last_mut() {
                *last = Disposition::Retry(pause);
            }
        } else if progress == Progress::All {
            self.publish_summary(streams, entries, metrics, video, on_publication).await?;
        }
        Ok(PublishedTotals { stored: self.stored, dispositions: self.dispositions })
    }

    /// Publishes the summary if there is one that is not published, and then stores that it is.
    async fn publish_summary(
        &mut self,
        streams: &Streams,
        entries: &Entries,
        metrics: &Metrics,
        video: &VideoId,
        on_publication: &mut impl FnMut(Publication<'_>),
    ) -> Result<(), CountError> {
        let stored = &mut self.stored;
        let Some(summary) = stored.totals.summary(video).filter(|_| !stored.summary_published)
        else {
            return Ok(());
        };
        if summary.state == VideoState::Cancelled {
            remove_frames(streams, video).await;
        }
        if let Some(fold) = &mut stored.fold {
            fold.finish(streams).await;
        }
        let is_new = publish_summary(streams, metrics, &summary).await?;
        // Also if another aggregator published it, which may have died before it printed it.
        if is_new || !stored.is_rebuilt {
            on_publication(Publication::Summary(&summary));
        }
        stored.summary_published = true;
        stored.corrections_published = summary.corrections;
        stored.write(entries, video).await?;
        if let Some(fold) = stored.fold.take() {
            fold.delete(streams).await;
        }
        // A source that was cancelled may have ended before its last window.
        if let Some(window) = &stored.totals.started().window
            && is_last_of(streams, video, &window.source).await?
        {
            publish_open_tracks(streams, metrics, video).await?;
        }
        Ok(())
    }
}

/// True if the source of this window has ended, and no window follows.
async fn is_last_of(
    streams: &Streams,
    window: &VideoId,
    source: &VideoId,
) -> Result<bool, CountError> {
    let source = streams.videos().entry(source).await.map_err(FoldError::from)?;
    Ok(source.is_some_and(|source| {
        let is_last = source.live.as_ref().is_some_and(|live| live.last.as_ref() == Some(window));
        is_last && source.state.is_final()
    }))
}

impl PublishedTotals {
    /// The totals to continue from, and what becomes of each result.
    pub(super) fn finish(self) -> (StoredTotals, Vec<Disposition>) {
        (self.stored, self.dispositions)
    }
}

/// The frames of a cancelled video need not be analysed. Those in flight change nothing.
async fn remove_frames(streams: &Streams, video: &VideoId) {
    if let Err(error) = streams.frames.purge().filter(subjects::frames_of(video)).await {
        warn!(%video, %error, "cannot remove the frames of a cancelled video");
    }
}

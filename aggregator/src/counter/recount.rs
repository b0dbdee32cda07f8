//! Counts a video again from its log: what was lost of its totals, or all of them.

use std::time::{Duration, Instant, SystemTime};

use futures_util::{StreamExt, TryStreamExt, stream};
use moliceiro_analytics::VideoTotals;
use moliceiro_nats::VideoId;
use moliceiro_nats::messages::{Event, Started};
use moliceiro_nats::videos::LoggedEvent;
use tracing::{info, warn};

use super::Counter;
use super::step::{CountError, MORE_ALARMS_RETRY, StoredTotals};
use crate::entries::EntryError;
use crate::output::Publication;
use crate::result_message::{Disposition, ResultMessage};
use crate::summary_publisher::published_summary;

/// Results that are written at once.
const BATCH: usize = 1_000;
/// Results that are too far ahead of what ingest confirms are counted by another pass.
const MOST_PASSES: usize = 3;
/// How soon a log that does not say how its video started is read again.
const HOPELESS_FOR: Duration = Duration::from_secs(30);
const MOST_HOPELESS: usize = 10_000;

/// What the log says about the video as a whole.
#[derive(Default)]
struct Outline {
    started: Option<Started>,
    queued: Option<Started>,
    started_at: Option<SystemTime>,
    /// Confirms frames, so that their results can be counted at once.
    confirms: Vec<LoggedEvent>,
}

impl Outline {
    fn add(&mut self, logged: LoggedEvent) {
        let at = logged.stored_at;
        match &logged.event.event {
            Event::Started(started) if self.started.is_none() => {
                self.started = Some(started.clone());
                self.started_at.get_or_insert(at);
            }
            Event::Queued(queued) if self.queued.is_none() => {
                self.queued = Some(queued.clone());
                self.started_at.get_or_insert(at);
            }
            Event::Progress(_) | Event::Ended(_) if self.is_open() => {
                self.confirms.retain(|known| !matches!(known.event.event, Event::Progress(_)));
                self.confirms.push(logged);
            }
            // What comes later does not hold.
            Event::Abandoned(_) | Event::Lost(_) | Event::Cancelled(_) if self.is_open() => {
                self.confirms.push(logged);
            }
            _ => {}
        }
    }

    fn is_open(&self) -> bool {
        let is_progress = |known: &LoggedEvent| matches!(known.event.event, Event::Progress(_));
        self.confirms.iter().all(is_progress)
    }
}

impl Counter {
    /// As [`recount`](Self::recount), for a video whose entry is damaged or missing. Returns false
    /// if its log does not help, also if that was tried lately.
    pub(super) async fn rebuild(
        &mut self,
        video: &VideoId,
        on_publication: &mut impl FnMut(Publication<'_>),
    ) -> bool {
        let tried = self.hopeless.get(video);
        if tried.is_some_and(|tried| tried.elapsed() < HOPELESS_FOR) {
            return false;
        }
        if self.hopeless.len() >= MOST_HOPELESS {
            self.hopeless.clear();
        }
        let is_rebuilt = Box::pin(self.recount(video, on_publication)).await;
        if is_rebuilt {
            self.hopeless.remove(video);
        } else {
            self.hopeless.insert(video.clone(), Instant::now());
        }
        is_rebuilt
    }

    /// Counts everything that is stored of a video, on top of its entry if that can be read. What
    /// the entry contains changes nothing. Returns false if that is not possible.
    pub(crate) async fn recount(
        &mut self,
        video: &VideoId,
        on_publication: &mut impl FnMut(Publication<'_>),
    ) -> bool {
        // The entry holds.
        self.videos.remove(video);
        loop {
            match self.try_recount(video, on_publication).await {
                Ok(is_known) => return is_known,
                Err(CountError::Entry(error)) if error.is_conflict() => {}
                Err(error) => {
                    warn!(%video, %error, "a video cannot be counted from its results now");
                    return false;
                }
            }
        }
    }

    async fn try_recount(
        &mut self,
        video: &VideoId,
        on_publication: &mut impl FnMut(Publication<'_>),
    ) -> Result<bool, CountError> {
        let outline = self.outline(video).await?;
        let (mut stored, is_rebuilt) = match self.load(video).await {
            Ok(Some(stored)) => (stored, false),
            Ok(None) => match self.first_totals(&outline) {
                Some(totals) => (StoredTotals::rebuilt(totals, None), true),
                None => return Ok(false),
            },
            Err(error) if error.is_damaged() => {
                let revision = self.streams.videos().damaged_revision(video).await;
                let revision = revision.map_err(EntryError::from)?;
                match self.first_totals(&outline).filter(|_| revision.is_some()) {
                    Some(totals) => (StoredTotals::rebuilt(totals, revision), true),
                    None => return Err(error.into()),
                }
            }
            Err(error) => return Err(error.into()),
        };
        if is_rebuilt {
            info!(%video, "the entry of a video is damaged or missing: rebuilding it");
        }
        for _ in 0..MOST_PASSES {
            let (next, is_settled) = self.add_log(video, stored, &outline, on_publication).await?;
            stored = next;
            if is_settled {
                break;
            }
        }
        if is_rebuilt
            && !stored.is_finished()
            && let Some(summary) = published_summary(&self.streams, video).await?
        {
            // Not all of its results are stored any more.
            stored.write_with(&self.entries, summary).await?;
        }
        Ok(true)
    }

    /// Adds the whole log. Returns false too if some of it has to be added again.
    async fn add_log(
        &mut self,
        video: &VideoId,
        stored: StoredTotals,
        outline: &Outline,
        on_publication: &mut impl FnMut(Publication<'_>),
    ) -> Result<(StoredTotals, bool), CountError> {
        let events = self.streams.videos().logged_events(video).map_ok(ResultMessage::from);
        let first: Vec<_> =
            outline.confirms.iter().cloned().map(ResultMessage::from).map(Ok).collect();
        let events = stream::iter(first).chain(events);
        let mut batches = Box::pin(events.try_chunks(BATCH));
        let (mut stored, mut is_settled) = (stored, true);
        while let Some(batch) = batches.next().await {
            let batch = batch.map_err(|error| EntryError::from(error.1))?;
            let mut rest = &batch[..];
            while !rest.is_empty() {
                let added = self.add(video, Some(stored), rest, on_publication).await?;
                let Some((next, dispositions)) = added else {
                    unreachable!("a video with totals is known")
                };
                stored = next;
                let is_retried = |d: &Disposition| matches!(d, Disposition::Retry(_));
                // Alarms are published some at a time.
                rest = match dispositions.last() {
                    Some(Disposition::Retry(MORE_ALARMS_RETRY)) => &batch[batch.len() - 1..],
                    _ => {
                        is_settled &= !dispositions.iter().any(is_retried);
                        &[]
                    }
                };
            }
        }
        Ok((stored, is_settled))
    }

    async fn outline(&self, video: &VideoId) -> Result<Outline, EntryError> {
        let mut events = Box::pin(self.streams.videos().logged_events(video));
        let mut outline = Outline::default();
        while let Some(event) = events.next().await {
            let event = event.map_err(EntryError::from)?;
            outline.add(event);
        }
        Ok(outline)
    }

    /// The totals of a video before its first result. `None` if the log does not say how it
    /// started, or if its entry may have expired.
    fn first_totals(&self, outline: &Outline) -> Option<VideoTotals> {
        let age = outline.started_at?.elapsed().unwrap_or_default();
        if age >= self.keep {
            return None;
        }
        match (&outline.started, &outline.queued) {
            (Some(started), _) => Some(VideoTotals::new(started.clone(), &self.rules)),
            (None, Some(queued)) => Some(VideoTotals::queued(queued.clone())),
            (None, None) => None,
        }
    }
}

//! Counts results: adds them to their videos' totals, stores those, and only then acknowledges the
//! results.

mod recount;
pub(crate) mod step;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::jetstream::stream::LastRawMessageErrorKind;
use moliceiro_analytics::VideoTotals;
use moliceiro_nats::messages::{AlarmRule, Event, VideoEvent, from_cbor};
use moliceiro_nats::{StoredEntry, Streams, VideoId, subjects};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use self::step::{CountError, StoredTotals, apply};
use crate::entries::{Entries, EntryError};
use crate::metrics::Metrics;
use crate::output::Publication;
use crate::result_message::{Disposition, ResultMessage, Settled};

/// Results may overtake their video's `Started`. After this many deliveries, the log is searched
/// for it.
const MAX_DELIVERIES_UNKNOWN: i64 = 10;
const UNKNOWN_RETRY: Duration = Duration::from_millis(500);

/// Results of a video that cannot be counted are redelivered this often, which takes about five
/// minutes: another aggregator may be able to count them.
const MAX_DELIVERIES_UNCOUNTABLE: i64 = 30;
const UNCOUNTABLE_RETRY: Duration = Duration::from_secs(10);

/// Totals kept in memory to avoid reading entries again. They are bounded because a video that
/// another aggregator finished is not removed otherwise.
const MAX_CACHED_VIDEOS: usize = 1_000;

pub(crate) struct Counter {
    streams: Streams,
    entries: Entries,
    rules: Vec<AlarmRule>,
    metrics: Arc<Metrics>,
    /// The totals of the videos in progress, as last written.
    videos: HashMap<VideoId, StoredTotals>,
    /// How long a log that does not say how its video started is kept for readers of videos.
    keep: Duration,
    /// Videos that could not be counted from their log, and when that was tried.
    hopeless: HashMap<VideoId, Instant>,
}

impl Counter {
    /// `rules` are for videos whose upload has none; entries are kept for so long.
    pub(crate) fn new(
        streams: Streams,
        rules: Vec<AlarmRule>,
        keep: Duration,
        metrics: Arc<Metrics>,
        shutdown: CancellationToken,
    ) -> Self {
        let entries = Entries::new(streams.clone(), Arc::clone(&metrics), shutdown);
        let (videos, hopeless) = (HashMap::new(), HashMap::new());
        Self { streams, entries, rules, metrics, videos, keep, hopeless }
    }

    /// Counts a batch, stores the totals, publishes what follows from them, and then acknowledges
    /// the batch.
    ///
    /// On shutdown it does not wait for an unavailable server: what is not acknowledged is
    /// redelivered.
    pub(crate) async fn count(
        &mut self,
        batch: Vec<ResultMessage>,
        on_publication: &mut impl FnMut(Publication<'_>),
    ) {
        self.metrics.batch(batch.len());
        if self.videos.len() > MAX_CACHED_VIDEOS {
            self.videos.clear();
        }
        let mut by_video: BTreeMap<VideoId, Vec<ResultMessage>> = BTreeMap::new();
        for result in batch {
            by_video.entry(result.event().video.clone()).or_default().push(result);
        }
        for (video, results) in by_video {
            if let Some(settled) = self.settle(&video, results, on_publication).await {
                settled.acknowledge(&self.streams.results, &self.metrics).await;
            }
        }
    }

    /// Counts the results of one video. Returns `None` if they cannot be counted now: then they are
    /// redelivered because nothing acknowledges them.
    async fn settle(
        &mut self,
        video: &VideoId,
        results: Vec<ResultMessage>,
        on_publication: &mut impl FnMut(Publication<'_>),
    ) -> Option<Settled> {
        loop {
            match self.try_count(video, &results, on_publication).await {
                Ok(Some(dispositions)) => {
                    return Some(Settled::with_dispositions(results, dispositions));
                }
                Ok(None) => return Some(self.unknown(video, results, on_publication).await),
                Err(CountError::Entry(error)) if error.is_conflict() => {}
                Err(CountError::Entry(error))
                    if error.is_damaged() && self.rebuild(video, on_publication).await => {}
                Err(error) if error.is_transient() => {
                    warn!(%video, %error, "results are not counted yet; they will be redelivered");
                    return None;
                }
                Err(error) => {
                    error!(%video, %error, "a video cannot be counted; other videos are");
                    return Some(Settled::new(results, uncountable));
                }
            }
        }
    }

    /// Returns `None` if the video is unknown.
    async fn try_count(
        &mut self,
        video: &VideoId,
        results: &[ResultMessage],
        on_publication: &mut impl FnMut(Publication<'_>),
    ) -> Result<Option<Vec<Disposition>>, CountError> {
        let stored = match self.videos.remove(video) {
            Some(stored) => Some(stored),
            None => self.load(video).await?,
        };
        let Some(counted) = self.add(video, stored, results, on_publication).await? else {
            return Ok(None);
        };
        let (stored, dispositions) = counted;
        if !stored.is_finished() {
            self.videos.insert(video.clone(), stored);
        }
        Ok(Some(dispositions))
    }

    /// Adds results to these totals, writes those and publishes what follows from them. Returns
    /// `None` if the video is unknown.
    async fn add(
        &mut self,
        video: &VideoId,
        stored: Option<StoredTotals>,
        results: &[ResultMessage],
        on_publication: &mut impl FnMut(Publication<'_>),
    ) -> Result<Option<(StoredTotals, Vec<Disposition>)>, CountError> {
        let Some(applied) = apply(stored, results, &self.rules) else { return Ok(None) };
        // These futures are large: boxed, they do not enlarge the task.
        let folding = Box::pin(applied.fold(&self.streams, video, &self.rules, results));
        let folded = folding.await?;
        let written = folded.write(&self.entries, video).await?;
        let Self { streams, entries, metrics, .. } = self;
        let publishing = written.publish(streams, entries, metrics, video, on_publication);
        let published = Box::pin(publishing).await?;
        Ok(Some(published.finish()))
    }

    async fn load(&self, video: &VideoId) -> Result<Option<StoredTotals>, EntryError> {
        let Some(stored) = self.entries.load(video).await? else { return Ok(None) };
        let StoredEntry { entry, revision, .. } = stored;
        let (summary_published, corrections) = (entry.summary_published, entry.corrections);
        let totals = VideoTotals::from_entry(entry)?;
        Ok(Some(StoredTotals::loaded(totals, revision, summary_published, corrections)))
    }

    /// Results whose video has no entry.
    async fn unknown(
        &mut self,
        video: &VideoId,
        results: Vec<ResultMessage>,
        on_publication: &mut impl FnMut(Publication<'_>),
    ) -> Settled {
        let is_early = |result: &ResultMessage| {
            result.deliveries().is_some_and(|deliveries| deliveries < MAX_DELIVERIES_UNKNOWN)
        };
        let disposition = if results.iter().all(is_early)
            || self.may_start(video).await
            || self.rebuild(video, on_publication).await
        {
            Disposition::Retry(UNKNOWN_RETRY)
        } else if self.streams.videos().was_forgotten(video).await.unwrap_or(false) {
            Disposition::Drop("its video was deleted")
        } else {
            // Its beginning may still come: then they are counted from the log.
            Disposition::GiveUp("its video is unknown")
        };
        Settled::new(results, |_| disposition)
    }

    /// True while the log contains an event that starts the video and that may not be counted yet:
    /// an aggregator that died, or lost its connection, may have had it in flight.
    async fn may_start(&self, video: &VideoId) -> bool {
        let first = match self
            .streams
            .results
            .get_first_raw_message_by_subject(&subjects::results(video), 1)
            .await
        {
            Ok(first) => first,
            Err(error) => return error.kind() != LastRawMessageErrorKind::NoMessageFound,
        };
        let starts = from_cbor::<VideoEvent>(&first.payload)
            .is_ok_and(|e| matches!(e.event, Event::Started(_) | Event::Queued(_)));
        starts
            && self
                .streams
                .aggregator
                .get_info()
                .await
                .map_or(true, |info| info.ack_floor.stream_sequence < first.sequence)
    }
}

/// Results of a video that cannot be counted do not hold up those of other videos for long.
fn uncountable(result: &ResultMessage) -> Disposition {
    match result.deliveries() {
        Some(deliveries) if deliveries < MAX_DELIVERIES_UNCOUNTABLE => {
            Disposition::Retry(UNCOUNTABLE_RETRY)
        }
        _ => Disposition::GiveUp("its video cannot be counted"),
    }
}

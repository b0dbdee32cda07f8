use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use async_nats::jetstream::AckKind;
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::LastRawMessageErrorKind;
use moliceiro_nats::messages::{Event, Summary, from_json, milliseconds_now, to_json};
use moliceiro_nats::publish::{StoreError, store_message};
use moliceiro_nats::{Streams, VideoId, subjects};
use thiserror::Error;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::batch::{Received, discard};
use crate::count::{Applied, VideoCount};
use crate::entries::{Entries, EntryError};
use crate::report;

/// Results may overtake their video's `Started`. After this many deliveries nobody knows the video.
const PATIENCE_WITH_UNKNOWN: i64 = 10;
const UNKNOWN_RETRY: Duration = Duration::from_millis(500);
const NOT_YET_RETRY: Duration = Duration::from_secs(1);

/// The totals in memory spare reading the entries again. A video that another aggregator finished is not heard of any more.
const MOST_HELD: usize = 1_000;

/// The totals of the videos in progress, as last written.
pub(crate) struct Tally {
    streams: Streams,
    entries: Entries,
    videos: HashMap<VideoId, Held>,
}

/// A video's totals, and the revision of the entry that holds them; none if there is no entry yet.
struct Held {
    count: VideoCount,
    revision: Option<u64>,
    summary_published: bool,
    /// The corrections that the published summary has.
    corrections_published: u64,
}

/// What becomes of a result's message.
enum Verdict {
    /// Its part in the totals is durable.
    Counted,
    /// It has no part in them, or had it before.
    Known,
    /// It may make sense later.
    Retry(Duration),
    /// It never will.
    Drop(&'static str),
}

#[derive(Debug, Error)]
enum TallyError {
    #[error(transparent)]
    Entry(#[from] EntryError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Tally {
    pub(crate) fn new(streams: Streams, shutdown: CancellationToken) -> Self {
        let entries = Entries::new(streams.videos.clone(), shutdown);
        Self { streams, entries, videos: HashMap::new() }
    }

    /// Counts a batch, makes the totals durable, and then acknowledges it.
    ///
    /// When it is time to end it gives up waiting for a server that is gone: what is not acknowledged comes again.
    pub(crate) async fn take(&mut self, batch: Vec<Received>, on_summary: &mut impl FnMut(&Summary)) {
        report::batch(batch.len());
        if self.videos.len() > MOST_HELD {
            self.videos.clear();
        }
        let mut by_video: BTreeMap<VideoId, Vec<Received>> = BTreeMap::new();
        for received in batch {
            by_video.entry(received.event.video.clone()).or_default().push(received);
        }
        for (video, results) in by_video {
            match self.settle(&video, &results, on_summary).await {
                Ok(verdicts) => {
                    for (received, verdict) in results.iter().zip(verdicts) {
                        self.carry_out(received, verdict).await;
                    }
                    self.forget_if_finished(&video, &results).await;
                }
                Err(error) => {
                    warn!(%video, %error, "results are not counted yet; they will come again");
                    self.videos.remove(&video);
                }
            }
        }
    }

    /// Applies the results of one video to its totals until those are written, whoever else writes too.
    async fn settle(
        &mut self,
        video: &VideoId,
        results: &[Received],
        on_summary: &mut impl FnMut(&Summary),
    ) -> Result<Vec<Verdict>, TallyError> {
        loop {
            let held = match self.videos.remove(video) {
                Some(held) => Some(held),
                None => self.load(video).await?,
            };
            let Some((mut held, verdicts, changed)) = apply(held, results) else {
                return Ok(results.iter().map(unknown).collect());
            };
            match self.make_durable(video, &mut held, changed, on_summary).await {
                Ok(()) => {
                    self.videos.insert(video.clone(), held);
                    return Ok(verdicts);
                }
                Err(TallyError::Entry(EntryError::Conflict)) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Writes the totals, and once the last frame is in them, publishes the summary and writes that it is.
    async fn make_durable(
        &self,
        video: &VideoId,
        held: &mut Held,
        changed: bool,
        on_summary: &mut impl FnMut(&Summary),
    ) -> Result<(), TallyError> {
        if changed {
            let published =
                held.summary_published && held.count.summary(video).is_some_and(|s| s.corrections == held.corrections_published);
            held.summary_published = published;
            held.revision = Some(self.entries.write(&held.count.to_entry(video, held.summary_published), held.revision).await?);
        }
        let Some(summary) = held.count.summary(video).filter(|_| !held.summary_published) else { return Ok(()) };
        publish_summary(&self.streams, &summary).await?;
        report::summary(&summary);
        on_summary(&summary);
        (held.summary_published, held.corrections_published) = (true, summary.corrections);
        held.revision = Some(self.entries.write(&held.count.to_entry(video, true), held.revision).await?);
        Ok(())
    }

    async fn load(&self, video: &VideoId) -> Result<Option<Held>, TallyError> {
        let Some((entry, revision)) = self.entries.load(video).await? else { return Ok(None) };
        let (summary_published, corrections_published) = (entry.summary_published, entry.corrections);
        let count = VideoCount::from_entry(entry).map_err(|e| EntryError::Broken(e.to_string()))?;
        Ok(Some(Held { count, revision: Some(revision), summary_published, corrections_published }))
    }

    async fn carry_out(&self, received: &Received, verdict: Verdict) {
        let message = &received.message;
        let done = match verdict {
            Verdict::Counted => {
                report::counted(&received.event);
                message.ack().await
            }
            Verdict::Known => {
                report::duplicate();
                message.ack().await
            }
            Verdict::Retry(pause) => {
                report::retried();
                message.ack_with(AckKind::Nak(Some(pause))).await
            }
            Verdict::Drop(reason) => {
                report::late(&received.event, reason);
                return discard(&self.streams.results, message).await;
            }
        };
        if let Err(error) = done {
            warn!(video = %received.event.video, %error, "cannot acknowledge a result: it will come again, and change nothing");
        }
    }

    /// A finished video's results are in its totals for ever: they need no room any more.
    async fn forget_if_finished(&mut self, video: &VideoId, results: &[Received]) {
        if !self.videos.get(video).is_some_and(|held| held.summary_published) {
            return;
        }
        self.videos.remove(video);
        // Those after them may be corrections, which are not counted yet.
        let last = results.iter().filter_map(|received| Some(received.message.info().ok()?.stream_sequence)).max().unwrap_or(0);
        if let Err(error) = self.streams.results.purge().sequence(last + 1).filter(subjects::results(video)).await {
            warn!(%video, %error, "cannot remove the results of a finished video");
        }
    }
}

/// `None` when nobody knows the video: it has no entry, and none of these results begins it.
fn apply(held: Option<Held>, results: &[Received]) -> Option<(Held, Vec<Verdict>, bool)> {
    let begin = || {
        let started = results.iter().find_map(|r| if let Event::Started(started) = &r.event.event { Some(started) } else { None })?;
        Some(Held { count: VideoCount::new(started.clone()), revision: None, summary_published: false, corrections_published: 0 })
    };
    let mut held = held.or_else(begin)?;
    let mut changed = held.revision.is_none();
    let now = milliseconds_now();
    let mut verdict = |received: &Received| match held.count.apply(&received.event.event, now) {
        Applied::Changed => {
            changed = true;
            Verdict::Counted
        }
        Applied::Duplicate => Verdict::Known,
        Applied::NoSuchFrame => Verdict::Drop("its video has no such frame"),
        Applied::NotYet => Verdict::Retry(NOT_YET_RETRY),
    };
    let verdicts = results.iter().map(&mut verdict).collect();
    Some((held, verdicts, changed))
}

fn unknown(received: &Received) -> Verdict {
    match received.message.info() {
        Ok(info) if info.delivered < PATIENCE_WITH_UNKNOWN => Verdict::Retry(UNKNOWN_RETRY),
        _ => Verdict::Drop("nobody knows its video"),
    }
}

/// Publishes the summary, unless somebody has: at most one is ever stored for a video, and one for each correction.
async fn publish_summary(streams: &Streams, summary: &Summary) -> Result<(), TallyError> {
    let subject = subjects::summary(&summary.video);
    loop {
        let last = match streams.summaries.get_last_raw_message_by_subject(&subject).await {
            Ok(message) => Some(message),
            Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => None,
            Err(error) => return Err(EntryError::OutOfReach(error.to_string()).into()),
        };
        let published = last.as_ref().and_then(|message| from_json::<Summary>(&message.payload).ok());
        if published.is_some_and(|published| published.corrections >= summary.corrections) {
            return Ok(());
        }
        let message = PublishMessage::build()
            .message_id(format!("{}/summary/{}", summary.video, summary.corrections))
            .expected_last_subject_sequence(last.map_or(0, |message| message.sequence))
            .payload(to_json(summary).into());
        match store_message(&streams.jetstream, &subject, message).await {
            Ok(_) => return Ok(()),
            // Somebody was faster: what they published may be this.
            Err(StoreError::NotFirst { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

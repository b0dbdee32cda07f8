use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use async_nats::jetstream::AckKind;
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::LastRawMessageErrorKind;
use moliceiro_nats::messages::{
    AlarmRule, Event, Started, Summary, VideoEvent, VideoState, from_cbor, from_json,
    milliseconds_now, to_json,
};
use moliceiro_nats::publish::StoreError;
use moliceiro_nats::{Streams, VideoId, subjects};
use thiserror::Error;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use crate::Publication;
use crate::batch::{Received, discard};
use crate::entries::{Entries, EntryError};
use crate::raise::{RaiseError, publish_alarms};
use crate::report;
use moliceiro_analytics::{Applied, VideoTotals};

/// Results may overtake their video's `Started`. After this many deliveries it is looked for.
const PATIENCE_WITH_UNKNOWN: i64 = 10;
const UNKNOWN_RETRY: Duration = Duration::from_millis(500);
const NOT_YET_RETRY: Duration = Duration::from_secs(1);

/// Results of a video that cannot be counted come again this often, for about five minutes: another
/// aggregator may be able to.
const PATIENCE_WITH_STUCK: i64 = 30;
const STUCK_RETRY: Duration = Duration::from_secs(10);

/// Alarms of one video that are published at once: one after the other, while other videos wait.
const MOST_ALARMS: usize = 100;
const REST_RETRY: Duration = Duration::from_millis(10);

/// The totals in memory spare reading the entries again. A video that another aggregator finished
/// is not heard of any more.
const MOST_HELD: usize = 1_000;

/// The totals of the videos in progress, as last written.
pub(crate) struct Tally {
    streams: Streams,
    entries: Entries,
    rules: Vec<AlarmRule>,
    videos: HashMap<VideoId, Held>,
}

/// A video's totals, and the revision of the entry that holds them; none if there is no entry yet.
struct Held {
    count: VideoTotals,
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
    /// It would, but its video cannot be counted. It stays in the log.
    GiveUp,
}

#[derive(Debug, Error)]
enum TallyError {
    #[error(transparent)]
    Entry(#[from] EntryError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Raise(#[from] RaiseError),
}

impl TallyError {
    /// False when the same results will meet it again.
    fn may_pass(&self) -> bool {
        matches!(
            self,
            Self::Entry(EntryError::Conflict | EntryError::OutOfReach(_))
                | Self::Raise(RaiseError::OutOfReach(_))
        )
    }
}

impl Tally {
    /// `rules` are for videos whose upload has none.
    pub(crate) fn new(
        streams: Streams,
        rules: Vec<AlarmRule>,
        shutdown: CancellationToken,
    ) -> Self {
        let entries = Entries::new(streams.videos.clone(), shutdown);
        Self { streams, entries, rules, videos: HashMap::new() }
    }

    /// Counts a batch, makes the totals durable, and then acknowledges it.
    ///
    /// When it is time to end it gives up waiting for a server that is gone: what is not
    /// acknowledged comes again.
    pub(crate) async fn take(
        &mut self,
        batch: Vec<Received>,
        on_publication: &mut impl FnMut(Publication<'_>),
    ) {
        report::batch(batch.len());
        if self.videos.len() > MOST_HELD {
            self.videos.clear();
        }
        let mut by_video: BTreeMap<VideoId, Vec<Received>> = BTreeMap::new();
        for received in batch {
            by_video.entry(received.event.video.clone()).or_default().push(received);
        }
        for (video, results) in by_video {
            match self.settle(&video, &results, on_publication).await {
                Ok(verdicts) => {
                    for (received, verdict) in results.iter().zip(verdicts) {
                        self.carry_out(received, verdict).await;
                    }
                    self.forget_if_finished(&video);
                }
                Err(error) if error.may_pass() => {
                    warn!(%video, %error, "results are not counted yet; they will come again");
                    self.videos.remove(&video);
                }
                Err(error) => {
                    error!(%video, %error, "a video cannot be counted; the others are");
                    self.videos.remove(&video);
                    for received in &results {
                        self.carry_out(received, stuck(received)).await;
                    }
                }
            }
        }
    }

    /// Applies the results of one video to its totals until those are written, whoever else writes
    /// too.
    async fn settle(
        &mut self,
        video: &VideoId,
        results: &[Received],
        on_publication: &mut impl FnMut(Publication<'_>),
    ) -> Result<Vec<Verdict>, TallyError> {
        loop {
            let held = match self.videos.remove(video) {
                Some(held) => Some(held),
                None => self.load(video).await?,
            };
            let Some((mut held, mut verdicts, changed)) = apply(held, results, &self.rules) else {
                return Ok(self.unknown(video, results).await);
            };
            match self.make_durable(video, &mut held, changed, on_publication).await {
                Ok(all) => {
                    // A result that comes again brings the rest.
                    if let Some(last) = verdicts.last_mut().filter(|_| !all) {
                        *last = Verdict::Retry(REST_RETRY);
                    }
                    self.videos.insert(video.clone(), held);
                    return Ok(verdicts);
                }
                Err(TallyError::Entry(EntryError::Conflict)) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Writes the totals, publishes alarms, and once the last frame is in the totals, publishes the
    /// summary and writes that it is.
    ///
    /// False when there are more alarms than may hold up other videos: then it has to be called
    /// again.
    async fn make_durable(
        &self,
        video: &VideoId,
        held: &mut Held,
        changed: bool,
        on_publication: &mut impl FnMut(Publication<'_>),
    ) -> Result<bool, TallyError> {
        if changed {
            let published = held.summary_published
                && held
                    .count
                    .summary(video)
                    .is_some_and(|s| s.corrections == held.corrections_published);
            held.summary_published = published;
            held.revision = Some(
                self.entries
                    .write(&held.count.to_entry(video, held.summary_published), held.revision)
                    .await?,
            );
        }
        let unsent = held.count.unpublished_alarms(video);
        let next = &unsent[..unsent.len().min(MOST_ALARMS)];
        publish_alarms(&self.streams, video, next, |alarm| {
            on_publication(Publication::Alarm(alarm))
        })
        .await?;
        held.count.mark_alarms_published(next.len());
        if next.len() < unsent.len() {
            return Ok(false);
        }
        let Some(summary) = held.count.summary(video).filter(|_| !held.summary_published) else {
            return Ok(true);
        };
        if summary.state == VideoState::Cancelled {
            self.remove_frames(video).await;
        }
        if publish_summary(&self.streams, &summary).await? {
            report::summary(&summary);
        }
        on_publication(Publication::Summary(&summary));
        (held.summary_published, held.corrections_published) = (true, summary.corrections);
        held.revision =
            Some(self.entries.write(&held.count.to_entry(video, true), held.revision).await?);
        Ok(true)
    }

    /// What becomes of results whose video has no entry.
    async fn unknown(&self, video: &VideoId, results: &[Received]) -> Vec<Verdict> {
        let deliveries =
            |received: &Received| received.message.info().map_or(i64::MAX, |info| info.delivered);
        let patient = results.iter().all(|received| deliveries(received) < PATIENCE_WITH_UNKNOWN)
            || self.may_begin(video).await;
        let verdict = |_| {
            if patient {
                Verdict::Retry(UNKNOWN_RETRY)
            } else {
                Verdict::Drop("nobody knows its video")
            }
        };
        results.iter().map(verdict).collect()
    }

    /// True while the log has an event that begins the video and that may not be counted yet: an
    /// aggregator that died, or was cut off, may have had it in hand.
    async fn may_begin(&self, video: &VideoId) -> bool {
        let first = match self
            .streams
            .results
            .get_first_raw_message_by_subject(&subjects::results(video), 1)
            .await
        {
            Ok(first) => first,
            Err(error) => return error.kind() != LastRawMessageErrorKind::NoMessageFound,
        };
        let begins = from_cbor::<VideoEvent>(&first.payload)
            .is_ok_and(|e| matches!(e.event, Event::Started(_) | Event::Queued(_)));
        begins
            && self
                .streams
                .aggregator
                .get_info()
                .await
                .map_or(true, |info| info.ack_floor.stream_sequence < first.sequence)
    }

    async fn load(&self, video: &VideoId) -> Result<Option<Held>, TallyError> {
        let Some((entry, revision)) = self.entries.load(video).await? else { return Ok(None) };
        let (summary_published, corrections_published) =
            (entry.summary_published, entry.corrections);
        let count = VideoTotals::from_entry(entry).map_err(|e| EntryError::Broken(e.to_string()))?;
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
            Verdict::GiveUp => {
                report::late(&received.event, "its video cannot be counted");
                message.ack_with(AckKind::Term).await
            }
        };
        if let Err(error) = done {
            warn!(video = %received.event.video, %error, "cannot acknowledge a result: it will come again, and change nothing");
        }
    }

    /// Nobody needs to look at a cancelled video's frames. Those that are still looked at change
    /// nothing.
    async fn remove_frames(&self, video: &VideoId) {
        if let Err(error) = self.streams.frames.purge().filter(subjects::frames(video)).await {
            warn!(%video, %error, "cannot remove the frames of a cancelled video");
        }
    }

    fn forget_if_finished(&mut self, video: &VideoId) {
        if self.videos.get(video).is_some_and(|held| held.summary_published) {
            self.videos.remove(video);
        }
    }
}

/// `None` when nobody knows the video: it has no entry, and none of these results begins it.
fn apply(
    held: Option<Held>,
    results: &[Received],
    rules: &[AlarmRule],
) -> Option<(Held, Vec<Verdict>, bool)> {
    let (mut held, mut changed) = begin(held, results, rules)?;
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

/// The video as it is, or as the first of these results make it; and whether that is news.
fn begin(held: Option<Held>, results: &[Received], rules: &[AlarmRule]) -> Option<(Held, bool)> {
    let first = |of: fn(&Event) -> Option<&Started>| {
        results.iter().find_map(|received| of(&received.event.event)).cloned()
    };
    let started =
        || first(|event| if let Event::Started(started) = event { Some(started) } else { None });
    let queued =
        || first(|event| if let Event::Queued(queued) = event { Some(queued) } else { None });
    let held_at = |count, revision| Held {
        count,
        revision,
        summary_published: false,
        corrections_published: 0,
    };
    match held {
        Some(held) if !held.count.is_queued() => Some((held, false)),
        Some(held) => match started() {
            Some(started) => Some((held_at(VideoTotals::new(started, rules), held.revision), true)),
            None => Some((held, false)),
        },
        None => {
            let count = started()
                .map(|started| VideoTotals::new(started, rules))
                .or_else(|| queued().map(VideoTotals::queued))?;
            Some((held_at(count, None), true))
        }
    }
}

/// What becomes of a result of a video that cannot be counted: it does not stand in the way of
/// other videos' results for long.
fn stuck(received: &Received) -> Verdict {
    match received.message.info() {
        Ok(info) if info.delivered < PATIENCE_WITH_STUCK => Verdict::Retry(STUCK_RETRY),
        _ => Verdict::GiveUp,
    }
}

/// Publishes the summary, unless somebody has: at most one is ever stored for a video, and one for
/// each correction.
///
/// True when it is this one that is stored. It is printed in any case: whoever stored it may have
/// died before it did that.
async fn publish_summary(streams: &Streams, summary: &Summary) -> Result<bool, TallyError> {
    let subject = subjects::summary(&summary.video);
    loop {
        let last = match streams.summaries.get_last_raw_message_by_subject(&subject).await {
            Ok(message) => Some(message),
            Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => None,
            Err(error) => return Err(EntryError::OutOfReach(error.to_string()).into()),
        };
        let published =
            last.as_ref().and_then(|message| from_json::<Summary>(&message.payload).ok());
        if published.is_some_and(|published| published.corrections >= summary.corrections) {
            return Ok(false);
        }
        let message = PublishMessage::build()
            .message_id(format!("{}/summary/{}", summary.video, summary.corrections))
            .expected_last_subject_sequence(last.map_or(0, |message| message.sequence))
            .payload(to_json(summary).into());
        match streams.publisher.publish_message(&subject, message).await {
            Ok(ack) => return Ok(!ack.duplicate),
            // Somebody was faster: what they published may be this.
            Err(StoreError::NotFirst { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

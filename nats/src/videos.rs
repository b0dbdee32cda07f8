//! The one reader of videos: entries, how a video started, changes, cancellation; and the one
//! writer of entries.
//!
//! Everything known about a video is in two places: its entry in the bucket `videos`, which only
//! aggregators write, and its log in the stream `RESULTS`, which is ahead of the entry. The rules
//! about which of them holds are here.

mod compare;
mod error;
mod forget;
mod log;
mod rerun;
mod unfinished;
mod watch;
mod write;

use std::collections::HashSet;
use std::time::{Duration, SystemTime};

use async_nats::HeaderMap;
use async_nats::jetstream::kv::{self, Operation};
use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::stream::LastRawMessageErrorKind;
use futures_util::{Stream, StreamExt, stream::try_unfold};
use tracing::warn;

use crate::messages::{
    Cancelled, Event, Started, VideoEntry, VideoEvent, VideoState, from_cbor, from_json,
};
use crate::publish::StoreError;
use crate::{Streams, VideoId, direct, subjects};

pub use compare::{CompareError, ComparedAnalysis, ComparedClass, Comparison};
pub use error::VideoError;
pub use log::LoggedEvent;
pub use rerun::RerunError;
pub use unfinished::UnfinishedVideo;
pub use watch::{VideoChange, VideoChanges, watch_all};
pub use write::WriteError;

/// Most pictures are decoded sooner. A watch costs the server a consumer, created and deleted.
const WATCH_AFTER: Duration = Duration::from_secs(1);
/// Between attempts to watch a video whose bucket is unavailable.
const PAUSE_AFTER_ERROR: Duration = Duration::from_secs(1);

/// An entry, and what the server knows about it.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredEntry {
    /// The video's state and totals.
    pub entry: VideoEntry,
    /// The key's revision in the bucket, for compare-and-swap.
    pub revision: u64,
    /// When the server stored it.
    pub written_at: SystemTime,
}

/// What is known about a video. A new video is in its log before an aggregator writes its entry.
#[derive(Clone, Debug, PartialEq)]
pub enum KnownVideo {
    /// It has an entry.
    Entry(Box<VideoEntry>),
    /// It waits for an ingest, and does not have an entry yet.
    Queued(Started),
    /// An ingest started it, and it does not have an entry yet.
    Started(Started),
}

/// Reads videos, cancels them, and writes their entries. From [`Streams::videos`].
#[derive(Clone, Copy)]
pub struct Videos<'a> {
    streams: &'a Streams,
}

impl<'a> Videos<'a> {
    pub(crate) fn new(streams: &'a Streams) -> Self {
        Self { streams }
    }

    /// A video's entry; `None` until an aggregator has written one.
    pub async fn entry(self, video: &VideoId) -> Result<Option<VideoEntry>, VideoError> {
        Ok(self.stored_entry(video).await?.map(|stored| stored.entry))
    }

    /// As [`entry`](Self::entry), with its revision.
    pub async fn stored_entry(self, video: &VideoId) -> Result<Option<StoredEntry>, VideoError> {
        let found = self.streams.videos.entry(video.as_str()).await;
        let found = found.map_err(|source| VideoError::unavailable(video.as_str(), source))?;
        let Some(found) = found.filter(|found| found.operation == Operation::Put) else {
            return Ok(None);
        };
        let kv::Entry { key, value, revision, created, .. } = found;
        parse(&key, &value, revision, created.into()).map(Some)
    }

    /// All entries, each once. Takes one request per thousand entries.
    ///
    /// An entry that does not parse is yielded as [`VideoError::Malformed`], and the stream
    /// continues; after any other error it ends.
    pub fn entries(self) -> impl Stream<Item = Result<StoredEntry, VideoError>> + Send + use<> {
        self.entries_since(1)
    }

    /// As [`entries`](Self::entries), of entries that were written at this revision or later.
    pub fn entries_since(
        self,
        revision: u64,
    ) -> impl Stream<Item = Result<StoredEntry, VideoError>> + Send + use<> {
        let prefix = self.streams.videos.prefix.clone();
        let client = self.streams.jetstream.client();
        let filter = format!("{prefix}>");
        let stream = &self.streams.videos.stream;
        let messages = direct::messages(client, &self.streams.api, stream, &filter, revision);
        let reader = (Box::pin(messages), HashSet::new());
        let entries = try_unfold(reader, move |(mut messages, mut seen)| {
            let prefix = prefix.clone();
            async move {
                while let Some(message) = messages.next().await {
                    let message =
                        message.map_err(|source| VideoError::unavailable("videos", source))?;
                    let key = message.subject.strip_prefix(&prefix).unwrap_or_default().to_owned();
                    // An entry that is written while others are read comes a second time.
                    if is_deletion(&message.headers) || !seen.insert(key.clone()) {
                        continue;
                    }
                    let StreamMessage { payload, sequence, time, .. } = message;
                    let entry = parse(&key, &payload, sequence, time.into());
                    return Ok(Some((entry, (messages, seen))));
                }
                Ok(None)
            }
        });
        entries.map(|entry: Result<Result<_, VideoError>, _>| entry.flatten())
    }

    /// A video's entry now, if there is one, and each later one.
    pub async fn watch(self, video: &VideoId) -> Result<VideoChanges, VideoError> {
        watch::watch(&self.streams.jetstream, &self.streams.videos, video.as_str()).await
    }

    /// Every video's entry now, and each later one.
    pub async fn watch_all(self) -> Result<VideoChanges, VideoError> {
        watch::watch_all(&self.streams.jetstream, &self.streams.videos).await
    }

    /// A video by its entry, or else by its log.
    pub async fn find(self, video: &VideoId) -> Result<Option<KnownVideo>, VideoError> {
        match self.entry(video).await? {
            Some(entry) => Ok(Some(KnownVideo::Entry(Box::new(entry)))),
            None => self.find_in_log(video).await,
        }
    }

    /// How a video was started; `None` while it waits for an ingest, or is unknown.
    ///
    /// The entry holds, unless the video is queued there: its log may already be ahead. In the log
    /// the first `Started` holds, behind any `Queued`.
    pub async fn started(self, video: &VideoId) -> Result<Option<Started>, VideoError> {
        let entry = self.entry(video).await?;
        match entry.filter(|entry| entry.state != VideoState::Queued) {
            Some(entry) => Ok(Some(entry.started)),
            None => match self.find_in_log(video).await? {
                Some(KnownVideo::Started(started)) => Ok(Some(started)),
                _ => Ok(None),
            },
        }
    }

    /// The first `Started` of the log, or else its `Queued`. Once the log's beginning is removed to
    /// make space, there is neither.
    async fn find_in_log(self, video: &VideoId) -> Result<Option<KnownVideo>, VideoError> {
        let (subject, mut from) = (subjects::results(video), 1);
        let mut queued = None;
        loop {
            let log = &self.streams.results;
            let message = match log.get_first_raw_message_by_subject(&subject, from).await {
                Ok(message) => message,
                Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => {
                    return Ok(queued.map(KnownVideo::Queued));
                }
                Err(source) => return Err(VideoError::unavailable(video.as_str(), source)),
            };
            match from_cbor::<VideoEvent>(&message.payload).map(|event| event.event) {
                Ok(Event::Started(started)) => return Ok(Some(KnownVideo::Started(started))),
                Ok(Event::Queued(found)) => queued = Some(found),
                Ok(_) => return Ok(queued.map(KnownVideo::Queued)),
                // Aggregators drop it too.
                Err(_) => {}
            }
            from = message.sequence + 1;
        }
    }

    /// The last event or result of the log; `None` without one, or if it is malformed.
    pub async fn last_event(self, video: &VideoId) -> Result<Option<Event>, VideoError> {
        let log = &self.streams.results;
        match log.get_last_raw_message_by_subject(&subjects::log_of(video)).await {
            Ok(message) => {
                Ok(from_cbor::<VideoEvent>(&message.payload).ok().map(|last| last.event))
            }
            Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
            Err(source) => Err(VideoError::unavailable(video.as_str(), source)),
        }
    }

    /// The stream sequence of a video's last summary; `None` without one.
    pub async fn summary_sequence(self, video: &VideoId) -> Result<Option<u64>, VideoError> {
        let summaries = &self.streams.summaries;
        match summaries.get_last_raw_message_by_subject(&subjects::summary(video)).await {
            Ok(message) => Ok(Some(message.sequence)),
            Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
            Err(source) => Err(VideoError::unavailable(video.as_str(), source)),
        }
    }

    /// Cancels a video, finished or not: aggregators decide whether it is too late. A second cancel
    /// changes nothing.
    pub async fn cancel(
        self,
        video: &VideoId,
        reason: impl Into<String>,
    ) -> Result<(), StoreError> {
        let id = subjects::event_message_id(video, "cancelled");
        let cancelled = Event::Cancelled(Cancelled { reason: reason.into() });
        self.streams.publisher.publish_event(video, Some(&id), cancelled).await
    }

    /// Returns once the video is cancelled, `WATCH_AFTER` from now at the earliest. Waits out an
    /// unavailable server.
    pub async fn until_cancelled(self, video: &VideoId) {
        tokio::time::sleep(WATCH_AFTER).await;
        loop {
            match self.watch(video).await {
                Ok(mut changes) => {
                    while let Some(change) = changes.next().await {
                        match change {
                            Ok(VideoChange::Written(stored)) if stored.entry.is_cancelled() => {
                                return;
                            }
                            Ok(_) => {}
                            Err(error @ VideoError::Malformed { .. }) => {
                                warn!(%video, %error, "ignoring an entry");
                            }
                            Err(error) => {
                                warn!(%video, %error, "cannot watch the video; trying again");
                                break;
                            }
                        }
                    }
                }
                Err(error) => warn!(%video, %error, "cannot watch the video; trying again"),
            }
            tokio::time::sleep(PAUSE_AFTER_ERROR).await;
        }
    }
}

fn parse(
    key: &str,
    value: &[u8],
    revision: u64,
    written_at: SystemTime,
) -> Result<StoredEntry, VideoError> {
    match from_json(value) {
        Ok(entry) => Ok(StoredEntry { entry, revision, written_at }),
        Err(source) => Err(VideoError::Malformed { key: key.to_owned(), source }),
    }
}

/// Deleting a key stores a message without a value (NATS ADR-8).
fn is_deletion(headers: &HeaderMap) -> bool {
    headers.get("KV-Operation").is_some_and(|operation| operation.as_str() != "PUT")
        || headers.get("Nats-Marker-Reason").is_some()
}

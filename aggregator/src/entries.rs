//! The bucket of videos: reading and writing entries by compare-and-swap, with retries while the
//! server is unavailable.

use std::error::Error;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::jetstream::context::PublishError;
use async_nats::jetstream::kv::{CreateErrorKind, Operation, Store, UpdateErrorKind};
use backon::{ExponentialBuilder, Retryable};
use bytes::Bytes;
use moliceiro_analytics::InvalidBitmap;
use moliceiro_nats::VideoId;
use moliceiro_nats::messages::{MalformedMessage, VideoEntry, from_json, to_json};
use moliceiro_nats::publish::may_pass;
use thiserror::Error;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::metrics::Metrics;
use crate::metrics::report::WriteOutcome;

const MAX_PAUSE: Duration = Duration::from_secs(2);

#[derive(Clone)]
pub(crate) struct Entries {
    store: Store,
    metrics: Arc<Metrics>,
    shutdown: CancellationToken,
}

#[derive(Debug, Error)]
pub(crate) enum EntryError {
    #[error("another aggregator wrote the video's entry meanwhile")]
    Conflict,
    #[error("the video's entry is malformed: {0}")]
    Malformed(#[from] MalformedMessage),
    #[error("the video's entry is invalid: {0}")]
    Bitmap(#[from] InvalidBitmap),
    /// Writing the same entry again would not help.
    #[error("the server refuses the video's entry: {0}")]
    Refused(async_nats::Error),
    #[error("the bucket of videos is unavailable: {0}")]
    Unavailable(async_nats::Error),
}

impl Entries {
    pub(crate) fn new(store: Store, metrics: Arc<Metrics>, shutdown: CancellationToken) -> Self {
        Self { store, metrics, shutdown }
    }

    /// A video's entry and its revision.
    pub(crate) async fn load(
        &self,
        video: &VideoId,
    ) -> Result<Option<(VideoEntry, u64)>, EntryError> {
        let key = video.to_string();
        let entry = self.with_retries(move |store| {
            let key = key.clone();
            async move { store.entry(key).await.map_err(|e| EntryError::Unavailable(e.into())) }
        });
        let Some(entry) = entry.await?.filter(|entry| entry.operation == Operation::Put) else {
            return Ok(None);
        };
        Ok(Some((from_json(&entry.value)?, entry.revision)))
    }

    /// Compare-and-swap: succeeds only if `revision` is the entry's last one; `None` is for a new
    /// entry. Returns the new revision.
    pub(crate) async fn write(
        &self,
        entry: &VideoEntry,
        revision: Option<u64>,
    ) -> Result<u64, EntryError> {
        let key = entry.video.to_string();
        let value = Bytes::from(to_json(entry));
        let start = Instant::now();
        let written = self.with_retries(move |store| {
            let (key, value) = (key.clone(), value.clone());
            async move {
                match revision {
                    None => store.create(key, value).await.map_err(|e| match e.kind() {
                        CreateErrorKind::AlreadyExists => EntryError::Conflict,
                        _ => write_error(e),
                    }),
                    Some(revision) => {
                        store.update(key, value, revision).await.map_err(|e| match e.kind() {
                            UpdateErrorKind::WrongLastRevision => EntryError::Conflict,
                            _ => write_error(e),
                        })
                    }
                }
            }
        });
        let written = written.await;
        let outcome = match &written {
            Ok(_) => WriteOutcome::Written,
            Err(EntryError::Conflict) => WriteOutcome::Conflict,
            Err(_) => WriteOutcome::Failed,
        };
        self.metrics.entry_written(&entry.video, start.elapsed(), outcome);
        written
    }

    /// Retries until the server answers; on shutdown, once more at most.
    async fn with_retries<T, F>(&self, attempt: impl Fn(Store) -> F) -> Result<T, EntryError>
    where
        F: Future<Output = Result<T, EntryError>>,
    {
        let pauses = ExponentialBuilder::default()
            .with_max_delay(MAX_PAUSE)
            .with_jitter()
            .without_max_times();
        let store = self.store.clone();
        let is_retried = |error: &EntryError| {
            matches!(error, EntryError::Unavailable(_)) && !self.shutdown.is_cancelled()
        };
        let log = |error: &EntryError, pause: Duration| {
            warn!(%error, retry_in = ?pause, "waiting for the bucket of videos");
        };
        (move || attempt(store.clone())).retry(pauses).when(is_retried).notify(log).await
    }
}

/// An entry that is too large, for example, will be refused again.
fn write_error(error: impl Error + Send + Sync + 'static) -> EntryError {
    let mut causes = std::iter::successors(Some(&error as &dyn Error), |&error| error.source());
    let refusal = causes.find_map(|cause| cause.downcast_ref::<PublishError>());
    match refusal {
        Some(refusal) if !may_pass(refusal) => EntryError::Refused(error.into()),
        _ => EntryError::Unavailable(error.into()),
    }
}

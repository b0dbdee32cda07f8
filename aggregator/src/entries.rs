use std::error::Error;
use std::future::Future;
use std::time::{Duration, Instant};

use async_nats::jetstream::context::PublishError;
use async_nats::jetstream::kv::{CreateErrorKind, Operation, Store, UpdateErrorKind};
use backon::{ExponentialBuilder, Retryable};
use bytes::Bytes;
use moliceiro_nats::VideoId;
use moliceiro_nats::messages::{VideoEntry, from_json, to_json};
use moliceiro_nats::publish::may_pass;
use thiserror::Error;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::report;

const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// The bucket of videos, with patience for a server that is gone.
#[derive(Clone)]
pub(crate) struct Entries {
    store: Store,
    shutdown: CancellationToken,
}

#[derive(Debug, Error)]
pub(crate) enum EntryError {
    #[error("the video's entry was written by another aggregator meanwhile")]
    Conflict,
    #[error("the video's entry cannot be used: {0}")]
    Broken(String),
    #[error("the server refuses the video's entry: {0}")]
    Refused(String),
    #[error("the bucket of videos is out of reach: {0}")]
    OutOfReach(String),
}

impl Entries {
    pub(crate) fn new(store: Store, shutdown: CancellationToken) -> Self {
        Self { store, shutdown }
    }

    /// A video's entry and its revision.
    pub(crate) async fn load(
        &self,
        video: &VideoId,
    ) -> Result<Option<(VideoEntry, u64)>, EntryError> {
        let key = video.to_string();
        let entry = self.patiently(move |store| {
            let key = key.clone();
            async move { store.entry(key).await.map_err(|e| EntryError::OutOfReach(e.to_string())) }
        });
        let Some(entry) = entry.await?.filter(|entry| entry.operation == Operation::Put) else {
            return Ok(None);
        };
        let state = from_json(&entry.value).map_err(|e| EntryError::Broken(e.to_string()))?;
        Ok(Some((state, entry.revision)))
    }

    /// Compare-and-swap: succeeds only on the revision that was loaded or written last; `None` is
    /// for a new entry.
    pub(crate) async fn write(
        &self,
        entry: &VideoEntry,
        revision: Option<u64>,
    ) -> Result<u64, EntryError> {
        let (key, value) = (entry.video.to_string(), Bytes::from(to_json(entry)));
        let began = Instant::now();
        let written = self.patiently(move |store| {
            let (key, value) = (key.clone(), value.clone());
            async move {
                match revision {
                    None => store.create(key, value).await.map_err(|e| match e.kind() {
                        CreateErrorKind::AlreadyExists => EntryError::Conflict,
                        _ => not_written(&e),
                    }),
                    Some(revision) => {
                        store.update(key, value, revision).await.map_err(|e| match e.kind() {
                            UpdateErrorKind::WrongLastRevision => EntryError::Conflict,
                            _ => not_written(&e),
                        })
                    }
                }
            }
        });
        let written = written.await;
        report::state_written(&entry.video, began.elapsed(), written.as_ref().map(drop));
        written
    }

    /// Tries until the server answers; when it is time to end, once more at most.
    async fn patiently<T, F>(&self, attempt: impl Fn(Store) -> F) -> Result<T, EntryError>
    where
        F: Future<Output = Result<T, EntryError>>,
    {
        let pauses = ExponentialBuilder::default()
            .with_max_delay(LONGEST_PAUSE)
            .with_jitter()
            .without_max_times();
        let store = self.store.clone();
        let again = |error: &EntryError| {
            matches!(error, EntryError::OutOfReach(_)) && !self.shutdown.is_cancelled()
        };
        let waiting = |error: &EntryError, pause: Duration| warn!(%error, retry_in = ?pause, "waiting for the bucket of videos");
        (move || attempt(store.clone())).retry(pauses).when(again).notify(waiting).await
    }
}

/// An entry that is too large, for example, will be refused again.
fn not_written(error: &(dyn Error + 'static)) -> EntryError {
    let mut causes = std::iter::successors(Some(error), |&error| error.source());
    let refusal = causes.find_map(|cause| cause.downcast_ref::<PublishError>());
    match refusal {
        Some(refusal) if !may_pass(refusal) => EntryError::Refused(refusal.to_string()),
        _ => EntryError::OutOfReach(error.to_string()),
    }
}

//! Entries of videos: reading and writing them, with retries while the server is unavailable.

use std::sync::Arc;
use std::time::{Duration, Instant};

use backon::Retryable;
use moliceiro_analytics::InvalidBitmap;
use moliceiro_nats::messages::VideoEntry;
use moliceiro_nats::{StoredEntry, Streams, VideoError, VideoId, WriteError, backoff};
use thiserror::Error;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::metrics::Metrics;
use crate::metrics::report::WriteOutcome;

const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

#[derive(Clone)]
pub(crate) struct Entries {
    streams: Streams,
    metrics: Arc<Metrics>,
    shutdown: CancellationToken,
}

#[derive(Debug, Error)]
pub(crate) enum EntryError {
    #[error(transparent)]
    Read(#[from] VideoError),
    #[error(transparent)]
    Write(#[from] WriteError),
    #[error("the video's entry is invalid: {0}")]
    Bitmap(#[from] InvalidBitmap),
}

impl EntryError {
    /// True if another aggregator wrote the entry meanwhile.
    pub(crate) fn is_conflict(&self) -> bool {
        matches!(self, Self::Write(WriteError::Conflict))
    }

    /// True if what is stored is not an entry.
    pub(crate) fn is_damaged(&self) -> bool {
        matches!(self, Self::Read(VideoError::Malformed { .. }) | Self::Bitmap(_))
    }

    /// True if the server does not answer: a later attempt may succeed.
    pub(crate) fn is_unavailable(&self) -> bool {
        matches!(
            self,
            Self::Read(VideoError::Unavailable { .. }) | Self::Write(WriteError::Unavailable(_))
        )
    }
}

impl Entries {
    pub(crate) fn new(
        streams: Streams,
        metrics: Arc<Metrics>,
        shutdown: CancellationToken,
    ) -> Self {
        Self { streams, metrics, shutdown }
    }

    pub(crate) async fn load(&self, video: &VideoId) -> Result<Option<StoredEntry>, EntryError> {
        let load = || async { Ok(self.streams.videos().stored_entry(video).await?) };
        self.with_retries(load).await
    }

    /// Writes an entry by compare-and-swap, as [`Videos::write`](moliceiro_nats::Videos::write).
    pub(crate) async fn write(
        &self,
        entry: &VideoEntry,
        revision: Option<u64>,
    ) -> Result<u64, EntryError> {
        let start = Instant::now();
        let write = || async { Ok(self.streams.videos().write(entry, revision).await?) };
        let written = self.with_retries(write).await;
        let outcome = match &written {
            Ok(_) => WriteOutcome::Written,
            Err(error) if error.is_conflict() => WriteOutcome::Conflict,
            Err(_) => WriteOutcome::Failed,
        };
        self.metrics.entry_written(&entry.video, start.elapsed(), outcome);
        written
    }

    /// Retries until the server answers; on shutdown, once more at most.
    async fn with_retries<T, F>(&self, attempt: impl FnMut() -> F) -> Result<T, EntryError>
    where
        F: Future<Output = Result<T, EntryError>>,
    {
        let is_retried =
            |error: &EntryError| error.is_unavailable() && !self.shutdown.is_cancelled();
        let log = |error: &EntryError, pause: Duration| {
            warn!(%error, retry_in = ?pause, "waiting for the bucket of videos");
        };
        let pauses = backoff(FIRST_PAUSE, LONGEST_PAUSE);
        attempt.retry(pauses).when(is_retried).notify(log).await
    }
}

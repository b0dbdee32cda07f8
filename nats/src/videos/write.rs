use std::error::Error;

use async_nats::jetstream::context::PublishError;
use async_nats::jetstream::kv::{CreateErrorKind, UpdateErrorKind};
use thiserror::Error;

use super::Videos;
use crate::messages::{VideoEntry, to_json};
use crate::publish::may_pass;

/// Why an entry is not written.
#[derive(Debug, Error)]
pub enum WriteError {
    /// The given revision is not the last one: read the entry again.
    #[error("somebody else wrote the video's entry meanwhile")]
    Conflict,
    /// Writing the same entry again would not help: it may be too large.
    #[error("the server refuses the video's entry: {0}")]
    Refused(Box<dyn Error + Send + Sync>),
    /// The server does not answer. A later attempt may succeed.
    #[error("the bucket of videos is unavailable: {0}")]
    Unavailable(Box<dyn Error + Send + Sync>),
}

impl Videos<'_> {
    /// Writes an entry by compare-and-swap. Only aggregators do.
    ///
    /// Succeeds if `revision` is the entry's last one; `None` is for a new entry. Returns the new
    /// revision.
    pub async fn write(self, entry: &VideoEntry, revision: Option<u64>) -> Result<u64, WriteError> {
        let (store, key, value) = (&self.streams.videos, &entry.video, to_json(entry).into());
        match revision {
            None => store.create(key.as_str(), value).await.map_err(|e| match e.kind() {
                CreateErrorKind::AlreadyExists => WriteError::Conflict,
                _ => not_written(e),
            }),
            Some(revision) => {
                store.update(key.as_str(), value, revision).await.map_err(|e| match e.kind() {
                    UpdateErrorKind::WrongLastRevision => WriteError::Conflict,
                    _ => not_written(e),
                })
            }
        }
    }
}

fn not_written(error: impl Error + Send + Sync + 'static) -> WriteError {
    let mut causes = std::iter::successors(Some(&error as &dyn Error), |&error| error.source());
    let refusal = causes.find_map(|cause| cause.downcast_ref::<PublishError>());
    match refusal {
        Some(refusal) if !may_pass(refusal) => WriteError::Refused(error.into()),
        _ => WriteError::Unavailable(error.into()),
    }
}

//! A request's body, as slow and as large as it may be.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::http::{HeaderMap, StatusCode, header};
use bytes::Bytes;
use futures_util::stream::{self, Stream, StreamExt};

use super::problem::Problem;

/// Bytes of a form that may lie between one part's contents and the next: its parser would hold any
/// number of them.
const MAX_BETWEEN_PARTS: usize = 2 << 20;

pub(super) struct Incoming {
    data: BodyDataStream,
    limit: u64,
    left: u64,
    idle: Duration,
}

impl Incoming {
    /// Refuses a body that says to be too long before any of it is read.
    pub(super) fn new(
        headers: &HeaderMap,
        body: Body,
        limit: u64,
        idle: Duration,
    ) -> Result<Self, Problem> {
        let length = headers
            .get(header::CONTENT_LENGTH)
            .and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        if length.is_some_and(|length| length > limit) {
            return Err(Problem::too_large(limit));
        }
        Ok(Self { data: body.into_data_stream(), limit, left: limit, idle })
    }

    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Problem> {
        let next = tokio::time::timeout(self.idle, self.data.next()).await.map_err(|_| {
            let detail = format!("nothing came for {:?} (ingest.idle_timeout)", self.idle);
            Problem::new(StatusCode::REQUEST_TIMEOUT, detail)
        })?;
        let bytes = next
            .transpose()
            .map_err(|error| Problem::bad_request(format!("the request breaks off: {error}")))?;
        if let Some(bytes) = &bytes {
            self.left = self
                .left
                .checked_sub(bytes.len() as u64)
                .ok_or_else(|| Problem::too_large(self.limit))?;
        }
        Ok(bytes)
    }

    /// All of it, which has to be little.
    pub(super) async fn all(mut self) -> Result<Vec<u8>, Problem> {
        let mut all = Vec::new();
        while let Some(bytes) = self.next().await? {
            all.extend_from_slice(&bytes);
        }
        Ok(all)
    }

    /// The body for a form's parser, a piece at each time it asks. `unparsed` is to be set to 0
    /// whenever it gives anything.
    pub(super) fn into_stream(
        self,
        unparsed: Arc<AtomicUsize>,
    ) -> impl Stream<Item = Result<Bytes, Problem>> + Send {
        stream::try_unfold((self, unparsed), |(mut incoming, unparsed)| async {
            // The parser takes whatever is ready before it looks at any of it.
            tokio::task::yield_now().await;
            let Some(bytes) = incoming.next().await? else { return Ok(None) };
            if unparsed.fetch_add(bytes.len(), Ordering::Relaxed) > MAX_BETWEEN_PARTS {
                return Err(Problem::bad_request("the form has too much between its parts"));
            }
            Ok(Some((bytes, (incoming, unparsed))))
        })
    }
}

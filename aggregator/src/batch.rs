//! Pulls results, many at a time.

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::consumer::{StreamError, pull};
use async_nats::jetstream::stream::Stream;
use futures_util::StreamExt;
use moliceiro_nats::Streams;
use thiserror::Error;
use tokio::time::{Instant, timeout_at};
use tracing::warn;

use crate::metrics::Metrics;
use crate::result_message::ResultMessage;

/// More results than this are written in several batches.
const MAX_RESULTS: usize = 1000;
const HEARTBEAT: Duration = Duration::from_secs(5);
const PULL_EXPIRY: Duration = Duration::from_secs(30);

/// Results in batches, as they arrive.
pub(crate) struct Batches {
    messages: pull::Stream,
    /// The stream that the results are in.
    log: Stream,
    linger: Duration,
    last_returned: Option<Instant>,
    /// What the next batch has so far.
    collected: Vec<ResultMessage>,
    metrics: Arc<Metrics>,
}

/// The server sends no more messages: open [`Batches`] again.
#[derive(Debug, Error)]
#[error("pulling results ended")]
pub(crate) struct PullEnded;

impl Batches {
    pub(crate) async fn open(
        streams: &Streams,
        linger: Duration,
        metrics: &Arc<Metrics>,
    ) -> Result<Self, StreamError> {
        let messages = streams
            .aggregator
            .stream()
            .max_messages_per_batch(MAX_RESULTS)
            .heartbeat(HEARTBEAT)
            .expires(PULL_EXPIRY)
            .messages()
            .await?;
        Ok(Self {
            messages,
            log: streams.results.clone(),
            linger,
            last_returned: None,
            collected: vec![],
            metrics: Arc::clone(metrics),
        })
    }

    /// Waits for a first result, then collects more until `linger` has passed since the last batch.
    /// So a result after a pause is counted at once, and a steady flow costs one write per
    /// `linger`.
    ///
    /// Dropping the future before it is ready loses nothing: the next call continues.
    pub(crate) async fn next(&mut self) -> Result<Vec<ResultMessage>, PullEnded> {
        while self.collected.is_empty() {
            self.receive().await?;
        }
        let deadline = self.last_returned.map_or_else(Instant::now, |last| last + self.linger);
        while self.collected.len() < MAX_RESULTS {
            match timeout_at(deadline, self.receive()).await {
                Ok(Ok(())) => {}
                Ok(Err(PullEnded)) | Err(_) => break,
            }
        }
        self.last_returned = Some(Instant::now());
        Ok(std::mem::take(&mut self.collected))
    }

    async fn receive(&mut self) -> Result<(), PullEnded> {
        match self.messages.next().await.ok_or(PullEnded)? {
            Ok(message) => {
                let accepted = ResultMessage::accept(message, &self.log, &self.metrics).await;
                self.collected.extend(accepted);
            }
            // A missed heartbeat or a lost connection: the stream recovers by itself.
            Err(error) => warn!(%error, "pulling results failed; retrying"),
        }
        Ok(())
    }
}

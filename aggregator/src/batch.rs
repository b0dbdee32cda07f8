//! Pulls results, many at a time.

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::consumer::{StreamError, pull};
use async_nats::jetstream::stream::Stream;
use futures_util::StreamExt;
use moliceiro_nats::Streams;
use thiserror::Error;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tokio_util::task::AbortOnDropHandle;
use tracing::warn;

use crate::metrics::Metrics;
use crate::result_message::ResultMessage;

/// More results than this are written in several batches.
const MAX_RESULTS: usize = 1000;
const HEARTBEAT: Duration = Duration::from_secs(5);
const PULL_EXPIRY: Duration = Duration::from_secs(30);

/// Results in batches, as they arrive. They are pulled and read beside the counting.
pub(crate) struct Batches {
    batches: mpsc::Receiver<Vec<ResultMessage>>,
    _pulling: AbortOnDropHandle<()>,
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
        let (log, metrics) = (streams.results.clone(), Arc::clone(metrics));
        let (sender, batches) = mpsc::channel(1);
        let puller = Puller { messages, log, linger, metrics, collected: vec![] };
        let pulling = AbortOnDropHandle::new(tokio::spawn(puller.run(sender)));
        Ok(Self { batches, _pulling: pulling })
    }

    /// The next batch. Dropping the future before it is ready loses nothing.
    pub(crate) async fn next(&mut self) -> Result<Vec<ResultMessage>, PullEnded> {
        self.batches.recv().await.ok_or(PullEnded)
    }
}

struct Puller {
    messages: pull::Stream,
    /// The stream that the results are in.
    log: Stream,
    linger: Duration,
    metrics: Arc<Metrics>,
    /// What the next batch has so far.
    collected: Vec<ResultMessage>,
}

impl Puller {
    /// Waits for a first result, then collects more until `linger` has passed since the last batch
    /// and that one is being counted. So a result after a pause is counted at once, and a steady
    /// flow costs one write per `linger`.
    async fn run(mut self, batches: mpsc::Sender<Vec<ResultMessage>>) {
        let mut deadline = Instant::now();
        loop {
            while self.collected.is_empty() {
                if self.receive().await.is_err() {
                    return;
                }
            }
            let is_full = self.collected.len() >= MAX_RESULTS;
            let is_due = is_full || Instant::now() >= deadline;
            tokio::select! {
                biased;
                received = self.receive(), if !is_full => {
                    if received.is_err() {
                        // The receiver is dropped once nothing is counted any more.
                        batches.send(self.collected).await.ok();
                        return;
                    }
                }
                permit = batches.reserve(), if is_due => {
                    let Ok(permit) = permit else { return };
                    permit.send(std::mem::take(&mut self.collected));
                    deadline = Instant::now() + self.linger;
                }
                () = sleep_until(deadline), if !is_due => {}
            }
        }
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

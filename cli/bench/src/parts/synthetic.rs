//! A detector and a publisher without the work behind them.

use std::time::Duration;

use anyhow::bail;
use async_nats::HeaderMap;
use async_nats::jetstream::Context;
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use moliceiro_nats::Streams;
use moliceiro_nats::messages::ModelId;
use tokio::task::JoinHandle;

const PULL: usize = 64;
const PULL_EXPIRY: Duration = Duration::from_secs(1);

/// A detector that takes no time and publishes no results. It stops when it is dropped.
pub(super) struct Detector(JoinHandle<()>);

impl Detector {
    pub(super) async fn start(streams: &Streams, model: &ModelId) -> anyhow::Result<Self> {
        let consumer = streams.detectors(model).await?;
        Ok(Self(tokio::spawn(async move {
            loop {
                let Ok(mut batch) =
                    consumer.batch().max_messages(PULL).expires(PULL_EXPIRY).messages().await
                else {
                    continue;
                };
                while let Some(Ok(message)) = batch.next().await {
                    // The server redelivers a frame whose acknowledgement is lost.
                    message.ack().await.ok();
                }
            }
        })))
    }
}

impl Drop for Detector {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A message to publish: subject, id and payload.
pub(super) type Message = (String, String, Bytes);

/// Publishes with up to `window` acknowledgements outstanding, and nothing else: it does not retry.
/// Fails on a duplicate.
pub(super) async fn publish(
    jetstream: &Context,
    messages: impl Iterator<Item = Message>,
    window: usize,
) -> anyhow::Result<()> {
    let publish = |(subject, id, payload): Message| async move {
        let mut headers = HeaderMap::new();
        headers.insert(async_nats::header::NATS_MESSAGE_ID, id);
        let stored = jetstream.publish_with_headers(subject, headers, payload).await?.await?;
        if stored.duplicate {
            bail!("the stream already has a message of the benchmark")
        } else {
            Ok(())
        }
    };
    futures_util::stream::iter(messages)
        .map(publish)
        .buffer_unordered(window)
        .try_collect::<()>()
        .await
}

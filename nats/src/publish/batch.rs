//! Stores several messages of one subject at once, or none of them, as nats-server 2.12 and newer
//! do (<https://github.com/nats-io/nats-architecture-and-design/blob/main/adr/ADR-50.md>).

use std::sync::atomic::Ordering::Relaxed;

use async_nats::HeaderMap;
use async_nats::client::PublishError as ClientError;
use async_nats::header::{
    NATS_BATCH_COMMIT, NATS_BATCH_COMMIT_FINAL, NATS_BATCH_ID, NATS_BATCH_SEQUENCE,
    NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, NATS_MESSAGE_ID,
};
use async_nats::jetstream::context::PublishError;
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::publish::PublishAck;
use bytes::Bytes;
use thiserror::Error;

use super::Publisher;

/// Messages that follow each other on one subject.
#[derive(Debug)]
pub struct Batch<'a> {
    /// Their subject. Its stream has to allow atomic publishing.
    pub subject: &'a str,
    /// The sequence of the last message on the subject: with another one, none is stored.
    pub after: u64,
    /// The `Nats-Msg-Id` and the payload of each message: at most 1,000.
    pub messages: Vec<(String, Bytes)>,
}

/// Why the messages of a batch are not known to be stored.
#[derive(Debug, Error)]
pub enum BatchError {
    /// There are none.
    #[error("a batch without messages")]
    Empty,
    /// The connection is closed, or the subject is not valid.
    #[error(transparent)]
    NotSent(#[from] ClientError),
    /// The server refuses the batch, or does not answer.
    #[error(transparent)]
    NotStored(#[from] PublishError),
}

impl Publisher {
    /// Sends a batch once, and returns the acknowledgement of its last message.
    ///
    /// If that fails, the batch may be stored all the same: the acknowledgement may be lost.
    pub async fn publish_batch(&self, batch: Batch<'_>) -> Result<PublishAck, BatchError> {
        let Batch { subject, after, mut messages } = batch;
        let (last_id, last) = messages.pop().ok_or(BatchError::Empty)?;
        let count = messages.len() + 1;
        let batch_id = nuid::next().to_string();
        let headers = |number: usize, id: String| {
            let mut headers = HeaderMap::new();
            headers.insert(NATS_BATCH_ID, batch_id.as_str());
            headers.insert(NATS_BATCH_SEQUENCE, number.to_string());
            headers.insert(NATS_MESSAGE_ID, id);
            if number == 1 {
                headers.insert(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, after.to_string());
            }
            headers
        };
        let client = self.jetstream.client();
        for (number, (id, payload)) in (1..).zip(messages) {
            let headers = headers(number, id);
            client.publish_with_headers(subject.to_owned(), headers, payload).await?;
        }
        let mut commit = headers(count, last_id);
        commit.insert(NATS_BATCH_COMMIT, NATS_BATCH_COMMIT_FINAL);
        let message = PublishMessage::build().headers(commit).payload(last);
        let ack = self.jetstream.send_publish(subject.to_owned(), message).await?.await?;
        self.counters.stored.fetch_add(count as u64, Relaxed);
        Ok(ack)
    }
}

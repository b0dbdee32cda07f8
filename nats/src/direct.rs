//! Reading many messages of a stream in few requests: batched direct get (NATS ADR-31, server
//! 2.11).

use std::collections::VecDeque;
use std::time::Duration;

use async_nats::header::NATS_LAST_SEQUENCE;
use async_nats::jetstream::message::{StreamMessage, StreamMessageError};
use async_nats::jetstream::stream;
use async_nats::{Client, HeaderMap, Message, PublishError, StatusCode, SubscribeError};
use bytes::Bytes;
use futures_util::stream::try_unfold;
use futures_util::{Stream, StreamExt};
use serde::Serialize;
use thiserror::Error;
use tokio::sync::mpsc;

/// Messages of one request. The server sends fewer when they are large: 16 MiB by default.
const BATCH: usize = 1000;
/// How long the server may take for the next message of a batch.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
const END_OF_BATCH: u16 = 204;
const NOT_FOUND: u16 = 404;
const NUM_PENDING: &str = "Nats-Num-Pending";

/// Why the messages of a stream cannot be read.
#[derive(Debug, Error)]
pub enum ReadError {
    /// The client library cannot receive answers.
    #[error(transparent)]
    Subscribe(#[from] SubscribeError),
    /// The client library cannot send the request.
    #[error(transparent)]
    Request(#[from] PublishError),
    /// The stream has no leader, or does not allow direct gets.
    #[error("no server answers for the stream {stream}")]
    NoResponders {
        /// The stream's name.
        stream: String,
    },
    /// The connection is lost, or the server overloaded.
    #[error("the server did not answer within {} s", ANSWER_TIMEOUT.as_secs())]
    TimedOut,
    /// The server answers with an error.
    #[error("the server answers {status}: {description}")]
    Refused {
        /// The server's code, with HTTP's meaning.
        status: u16,
        /// The server's description of the error.
        description: String,
    },
    /// The server sends something that is not a message of a stream.
    #[error(transparent)]
    Message(#[from] StreamMessageError),
}

#[derive(Serialize)]
struct Request<'a> {
    seq: u64,
    next_by_subj: &'a str,
    batch: usize,
}

/// The messages of `stream` on subjects that match `filter`, in their order, from the sequence
/// `from` up to the last one stored when the last batch is read. While one batch is used, the next
/// one is on its way: memory holds at most three.
///
/// `api` is how the subjects of requests begin.
pub(crate) fn messages(
    client: Client,
    api: &str,
    stream: &stream::Stream,
    filter: &str,
    from: u64,
) -> impl Stream<Item = Result<StreamMessage, ReadError>> + Send + Sync + use<> {
    let reader = Reader {
        client,
        subject: format!("{api}.DIRECT.GET.{}", stream.cached_info().config.name),
        stream: stream.cached_info().config.name.clone(),
        filter: filter.to_owned(),
        next: from,
        ended: false,
    };
    let (sender, receiver) = mpsc::channel(1);
    // It ends when the stream is dropped: nobody receives then.
    tokio::spawn(reader.read_all(sender));
    try_unfold((receiver, VecDeque::new()), async |(mut receiver, mut batch)| {
        while batch.is_empty() {
            match receiver.recv().await {
                Some(next) => batch = next?,
                None => return Ok(None),
            }
        }
        Ok(batch.pop_front().map(|message| (message, (receiver, batch))))
    })
}

type Batch = VecDeque<StreamMessage>;

struct Reader {
    client: Client,
    /// Of requests.
    subject: String,
    stream: String,
    filter: String,
    /// The smallest sequence not read yet.
    next: u64,
    ended: bool,
}

impl Reader {
    async fn read_all(mut self, batches: mpsc::Sender<Result<Batch, ReadError>>) {
        while !self.ended {
            let batch = self.fetch().await;
            let has_failed = batch.is_err();
            if batches.send(batch).await.is_err() || has_failed {
                return;
            }
        }
    }

    async fn fetch(&mut self) -> Result<Batch, ReadError> {
        let request = Request { seq: self.next, next_by_subj: &self.filter, batch: BATCH };
        let request = Bytes::from(crate::messages::to_json(&request));
        let inbox = self.client.new_inbox();
        let mut answers = self.client.subscribe(inbox.clone()).await?;
        self.client.publish_with_reply(self.subject.clone(), inbox, request).await?;
        let mut batch = Batch::new();
        let mut last_in_batch = 0;
        loop {
            let answer = tokio::time::timeout(ANSWER_TIMEOUT, answers.next()).await;
            let Ok(Some(answer)) = answer else { return Err(ReadError::TimedOut) };
            if let Some(status) = answer.status {
                self.end(status, &answer)?;
                return Ok(batch);
            }
            if number(&answer, NATS_LAST_SEQUENCE.as_ref()) != Some(last_in_batch) {
                // A message was lost on its way. The next request starts with it.
                return Ok(batch);
            }
            let message = StreamMessage::try_from(answer)?;
            last_in_batch = message.sequence;
            self.next = message.sequence + 1;
            batch.push_back(message);
        }
    }

    fn end(&mut self, status: StatusCode, answer: &Message) -> Result<(), ReadError> {
        match status.as_u16() {
            END_OF_BATCH => {
                let complete =
                    number(answer, NATS_LAST_SEQUENCE.as_ref()).is_none_or(|last| last < self.next);
                self.ended = complete && number(answer, NUM_PENDING).unwrap_or(0) == 0;
                Ok(())
            }
            NOT_FOUND => {
                self.ended = true;
                Ok(())
            }
            _ if status == StatusCode::NO_RESPONDERS => {
                Err(ReadError::NoResponders { stream: self.stream.clone() })
            }
            status => Err(ReadError::Refused {
                status,
                description: answer.description.clone().unwrap_or_default(),
            }),
        }
    }
}

fn number(message: &Message, header: &str) -> Option<u64> {
    message
        .headers
        .as_ref()
        .and_then(|headers: &HeaderMap| headers.get_last(header))?
        .as_str()
        .parse()
        .ok()
}

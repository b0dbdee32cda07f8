use std::pin::Pin;
use std::task::{Context, Poll, ready};

use async_nats::jetstream::consumer::{DeliverPolicy, push};
use async_nats::jetstream::{self, Message, kv};
use futures_util::Stream;

use super::{StoredEntry, VideoError, is_deletion, parse};
use crate::TemporaryConsumer;

/// A change of the bucket, or the end of what was in it when the watch started.
#[derive(Clone, Debug, PartialEq)]
pub enum VideoChange {
    /// A video's entry: as it is when the watch starts, or written since.
    Written(Box<StoredEntry>),
    /// The entry with this key was deleted. Entries that expire are not reported.
    Deleted(String),
    /// Every entry that existed when the watch started has been yielded. Comes once, for an empty
    /// bucket too.
    Loaded,
}

/// A video's or all videos' entries and their changes: a stream that ends only with the client.
///
/// It survives reconnects. [`VideoError::Malformed`] does not end it; after
/// [`VideoError::Unavailable`], start another watch.
pub struct VideoChanges {
    messages: push::Ordered,
    prefix: String,
    loaded: Loaded,
    _consumer: TemporaryConsumer,
}

#[derive(PartialEq)]
enum Loaded {
    NotYet,
    Unreported,
    Reported,
}

/// Every video's entry now, and each later one, for a program that does not open
/// [`Streams`](crate::Streams).
pub async fn watch_all(
    jetstream: &jetstream::Context,
    videos: &kv::Store,
) -> Result<VideoChanges, VideoError> {
    watch(jetstream, videos, ">").await
}

pub(super) async fn watch(
    jetstream: &jetstream::Context,
    videos: &kv::Store,
    key: &str,
) -> Result<VideoChanges, VideoError> {
    let config = push::OrderedConfig {
        deliver_subject: jetstream.client().new_inbox(),
        description: Some("watches videos".into()),
        filter_subject: format!("{}{key}", videos.prefix),
        deliver_policy: DeliverPolicy::LastPerSubject,
        ..push::OrderedConfig::default()
    };
    let consumer = videos.stream.create_consumer(config).await;
    let consumer = consumer.map_err(|source| VideoError::unavailable(key, source))?;
    let info = consumer.cached_info();
    let loaded = match info.num_pending {
        0 => Loaded::Unreported,
        _ => Loaded::NotYet,
    };
    let on_server = TemporaryConsumer::new(&videos.stream, &info.name);
    let messages = consumer.messages().await;
    let messages = messages.map_err(|source| VideoError::unavailable(key, source))?;
    Ok(VideoChanges { messages, prefix: videos.prefix.clone(), loaded, _consumer: on_server })
}

impl VideoChanges {
    fn change(&mut self, message: &Message) -> Result<VideoChange, VideoError> {
        let key = message.subject.strip_prefix(&self.prefix).unwrap_or_default().to_owned();
        let info = message.info().map_err(|source| VideoError::unavailable(&key, source))?;
        if self.loaded == Loaded::NotYet && info.pending == 0 {
            self.loaded = Loaded::Unreported;
        }
        if message.headers.as_ref().is_some_and(is_deletion) {
            return Ok(VideoChange::Deleted(key));
        }
        let stored: Result<StoredEntry, _> =
            parse(&key, &message.payload, info.stream_sequence, info.published.into());
        stored.map(|stored| VideoChange::Written(Box::new(stored)))
    }
}

impl Stream for VideoChanges {
    type Item = Result<VideoChange, VideoError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.loaded == Loaded::Unreported {
            self.loaded = Loaded::Reported;
            return Poll::Ready(Some(Ok(VideoChange::Loaded)));
        }
        let message = ready!(Pin::new(&mut self.messages).poll_next(cx));
        Poll::Ready(message.map(|message| match message {
            Ok(message) => self.change(&message),
            Err(source) => Err(VideoError::unavailable("videos", source)),
        }))
    }
}

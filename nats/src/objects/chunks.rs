//! How ADR-20 lays out objects in their stream.

use std::sync::Arc;
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::header::NATS_EXPECTED_LAST_SUBJECT_SEQUENCE;
use async_nats::jetstream::Context;
use async_nats::jetstream::context::PublishErrorKind;
use async_nats::jetstream::object_store::ObjectInfo;
use async_nats::jetstream::stream::Stream;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE;
use bytes::Bytes;
use ring::digest;
use tracing::warn;

use super::error::{ObjectError, publish_error};

/// Fits NATS's default `max_payload` of 1 MiB, and is large enough that round trips do not matter.
pub(super) const CHUNK: usize = 256 * 1024;
/// The key of an object's metadata that names its video. The object is deleted when the video is
/// done.
pub(super) const VIDEO: &str = "moliceiro-video";

const PURGE_ATTEMPTS: u32 = 5;
const PURGE_PAUSE: Duration = Duration::from_secs(2);

pub(super) fn digest_text(context: digest::Context) -> String {
    format!("SHA-256={}", URL_SAFE.encode(context.finish()))
}

/// The stream of chunks, and the context that bounds writes to it.
#[derive(Clone)]
pub(super) struct ChunkStore {
    pub(super) jetstream: Context,
    pub(super) stream: Stream,
    pub(super) bucket: &'static str,
    /// How the subjects of requests begin.
    pub(super) api: Arc<str>,
}

impl ChunkStore {
    /// Subject of the chunks of the object with this `nuid`.
    pub(super) fn chunk_subject(&self, nuid: &str) -> String {
        format!("$O.{}.C.{nuid}", self.bucket)
    }

    /// Subject of an object's description.
    pub(super) fn info_subject(&self, name: &str) -> String {
        format!("$O.{}.M.{}", self.bucket, URL_SAFE.encode(name))
    }

    /// Stores an object's description; with `is_new`, only if no object ever had its name.
    pub(super) async fn describe(
        &self,
        info: &ObjectInfo,
        is_new: bool,
    ) -> Result<(), ObjectError> {
        let subject = self.info_subject(&info.name);
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Rollup", "sub");
        if is_new {
            headers.insert(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, "0");
        }
        let payload: Bytes = crate::messages::to_json(info).into();
        let bytes = payload.len();
        let stored =
            async { self.jetstream.publish_with_headers(subject, headers, payload).await?.await };
        stored.await.map(drop).map_err(|error| match error.kind() {
            PublishErrorKind::MaxPayloadExceeded => ObjectError::Full(format!(
                "its description has {bytes} bytes, and the server's max_payload is less"
            )),
            _ => publish_error(&error),
        })
    }

    /// Deletes the chunks of an object that was never completed. Tries for some seconds; chunks
    /// that remain expire, or are deleted before the next model is added.
    pub(super) async fn purge(&self, nuid: &str) {
        let subject = self.chunk_subject(nuid);
        for _ in 0..PURGE_ATTEMPTS {
            match self.stream.purge().filter(&subject).await {
                Ok(_) => return,
                Err(error) => warn!(%error, "cannot delete the bytes of a failed upload yet"),
            }
            tokio::time::sleep(PURGE_PAUSE).await;
        }
        warn!("the bytes of a failed upload stay until they expire");
    }
}

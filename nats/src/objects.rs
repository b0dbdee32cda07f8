//! The bytes of uploads in the object store, as [ADR-20] lays them out: read and written in chunks,
//! whatever their size.
//!
//! The client library's own object store gives no name to what a broken write leaves behind, and
//! reads ahead of a slow reader without bound. So chunks are written and read here; the rest of the
//! protocol is the library's.
//!
//! [ADR-20]: https://github.com/nats-io/nats-architecture-and-design/blob/main/adr/ADR-20.md

use std::collections::{HashMap, VecDeque};
use std::future::IntoFuture;
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::Context;
use async_nats::jetstream::context::{PublishAckFuture, PublishErrorKind};
use async_nats::jetstream::object_store::{
    DeleteErrorKind, InfoErrorKind, ObjectInfo, ObjectOptions, ObjectStore,
};
use async_nats::jetstream::stream::{DirectGetErrorKind, Stream};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE;
use bytes::{Bytes, BytesMut};
use percent_encoding::percent_decode_str;
use ring::digest;
use thiserror::Error;
use tracing::warn;
use url::Url;

use crate::subjects::UPLOADS_BUCKET;

/// Fits NATS's default `max_payload` of 1 MiB, and is large enough that the round trips don't
/// count.
const CHUNK: usize = 256 * 1024;
/// Chunks of one object that are on their way to the server.
const CHUNKS_IN_FLIGHT: usize = 4;
/// The scheme of an object's URI.
pub const SCHEME: &str = "obj";
/// The key of an object's metadata that names the video which it is kept for. Such an object goes
/// when the video is done.
const VIDEO: &str = "moliceiro-video";
const READ_ATTEMPTS: u32 = 10;
const READ_PAUSE: Duration = Duration::from_millis(300);
const PURGE_ATTEMPTS: u32 = 5;
const PURGE_PAUSE: Duration = Duration::from_secs(2);

/// Why an object cannot be had.
#[derive(Debug, Error)]
pub enum ObjectError {
    /// The URI names none.
    #[error("{uri} names no uploaded object: write it as obj://{UPLOADS_BUCKET}/NAME")]
    NoObjectUri {
        /// What was asked for.
        uri: String,
    },
    /// There is none.
    #[error("{uri}: there is no such object in the store: put it there again")]
    Missing {
        /// What was asked for.
        uri: String,
    },
    /// It refers to another one.
    #[error("{uri} is a link, and links are not followed: name the object itself")]
    Link {
        /// What was asked for.
        uri: String,
    },
    /// What is there is not what was put there.
    #[error("{uri} is damaged in the store ({reason}): put it there again")]
    Damaged {
        /// What was asked for.
        uri: String,
        /// How that is seen.
        reason: String,
    },
    /// The server gives or takes nothing now.
    #[error("the object store {UPLOADS_BUCKET} is out of reach: {0}")]
    Unavailable(String),
    /// The server has no room for it.
    #[error("the object store {UPLOADS_BUCKET} takes no more: {0}")]
    Full(String),
}

/// The object store of uploads. Cheap to clone.
#[derive(Clone)]
pub struct Objects {
    jetstream: Context,
    store: ObjectStore,
    stream: Stream,
}

/// The name of the object that a URI such as `obj://uploads/a.mp4` names.
pub fn object_name(uri: &Url) -> Result<String, ObjectError> {
    let no_object = || ObjectError::NoObjectUri { uri: uri.to_string() };
    if uri.scheme() != SCHEME || uri.host_str() != Some(UPLOADS_BUCKET) {
        return Err(no_object());
    }
    let name = percent_decode_str(uri.path().trim_start_matches('/'))
        .decode_utf8()
        .map_err(|_| no_object())?;
    if name.is_empty() { Err(no_object()) } else { Ok(name.into_owned()) }
}

impl Objects {
    /// The store, which is there.
    pub(crate) async fn open(jetstream: Context) -> Result<Self, ObjectError> {
        let unavailable =
            |error: &dyn std::fmt::Display| ObjectError::Unavailable(error.to_string());
        let store =
            jetstream.get_object_store(UPLOADS_BUCKET).await.map_err(|e| unavailable(&e))?;
        let stream = jetstream
            .get_stream(format!("OBJ_{UPLOADS_BUCKET}"))
            .await
            .map_err(|e| unavailable(&e))?;
        Ok(Self { jetstream, store, stream })
    }

    /// The stream that holds objects and their chunks.
    pub fn stream(&self) -> &Stream {
        &self.stream
    }

    /// The same store, with chunks on their way bounded by another context.
    pub fn through(&self, jetstream: Context) -> Self {
        Self { jetstream, ..self.clone() }
    }

    /// An object that is yet to be written.
    pub fn draft(&self) -> ObjectWriter {
        ObjectWriter {
            objects: self.clone(),
            nuid: nuid::next().to_string(),
            chunk: BytesMut::new(),
            in_flight: VecDeque::new(),
            chunks: 0,
            size: 0,
            digest: digest::Context::new(&digest::SHA256),
        }
    }

    /// What is known of the object behind a URI.
    pub async fn info(&self, uri: &Url) -> Result<ObjectInfo, ObjectError> {
        let name = object_name(uri)?;
        let uri = || uri.to_string();
        let info = self.store.info(&name).await.map_err(|error| match error.kind() {
            InfoErrorKind::NotFound | InfoErrorKind::InvalidName => {
                ObjectError::Missing { uri: uri() }
            }
            _ => ObjectError::Unavailable(error.to_string()),
        })?;
        match &info {
            info if info.deleted => Err(ObjectError::Missing { uri: uri() }),
            info if info.options.as_ref().is_some_and(|options| options.link.is_some()) => {
                Err(ObjectError::Link { uri: uri() })
            }
            _ => Ok(info),
        }
    }

    /// The bytes of an object, from the first one.
    pub fn read(&self, uri: &Url, info: ObjectInfo) -> ObjectReader {
        ObjectReader {
            objects: self.clone(),
            uri: uri.to_string(),
            info,
            next: 0,
            chunks: 0,
            size: 0,
            digest: digest::Context::new(&digest::SHA256),
        }
    }

    /// Removes the object behind `uri` if it is kept for this video alone. Others' objects stay.
    pub async fn remove_of(&self, uri: &Url, video: &str) -> Result<(), ObjectError> {
        let info = match self.info(uri).await {
            Ok(info) => info,
            Err(ObjectError::Unavailable(reason)) => return Err(ObjectError::Unavailable(reason)),
            Err(_) => return Ok(()),
        };
        if info.metadata.get(VIDEO).is_none_or(|kept_for| kept_for != video) {
            return Ok(());
        }
        self.remove(&info.name).await
    }

    /// Removes an object, if there is one.
    pub async fn remove(&self, name: &str) -> Result<(), ObjectError> {
        match self.store.delete(name).await {
            Err(error) if error.kind() != DeleteErrorKind::NotFound => {
                Err(ObjectError::Unavailable(error.to_string()))
            }
            _ => Ok(()),
        }
    }

    async fn purge_chunks(&self, nuid: &str) {
        let subject = chunk_subject(nuid);
        for _ in 0..PURGE_ATTEMPTS {
            match self.stream.purge().filter(&subject).await {
                Ok(_) => return,
                Err(error) => warn!(%error, "cannot remove the bytes of a broken upload yet"),
            }
            tokio::time::sleep(PURGE_PAUSE).await;
        }
        warn!("the bytes of a broken upload stay until streams.keep is over");
    }
}

fn chunk_subject(nuid: &str) -> String {
    format!("$O.{UPLOADS_BUCKET}.C.{nuid}")
}

fn digest_text(context: digest::Context) -> String {
    format!("SHA-256={}", URL_SAFE.encode(context.finish()))
}

fn publish_error(error: &async_nats::jetstream::context::PublishError) -> ObjectError {
    use std::error::Error;
    let code = error
        .source()
        .and_then(|s| s.downcast_ref::<async_nats::jetstream::Error>())
        .map(async_nats::jetstream::Error::error_code);
    match (error.kind(), code) {
        (
            _,
            Some(
                async_nats::jetstream::ErrorCode::STREAM_STORE_FAILED
                | async_nats::jetstream::ErrorCode::INSUFFICIENT_RESOURCES,
            ),
        ) => ObjectError::Full(error.to_string()),
        (PublishErrorKind::MaxPayloadExceeded, _) => {
            ObjectError::Full(format!("its max_payload is below the {CHUNK} bytes of a chunk"))
        }
        _ => ObjectError::Unavailable(error.to_string()),
    }
}

/// An object that is being written. Nobody sees it before [`CommittedBytes::keep`].
///
/// One that is dropped leaves its bytes in the store until they are too old:
/// [`ObjectWriter::discard`] it.
pub struct ObjectWriter {
    objects: Objects,
    nuid: String,
    chunk: BytesMut,
    in_flight: VecDeque<PublishAckFuture>,
    chunks: usize,
    size: usize,
    digest: digest::Context,
}

impl ObjectWriter {
    /// Appends bytes; waits while too many are on their way. After an error the draft can only be
    /// discarded.
    pub async fn write(&mut self, mut bytes: Bytes) -> Result<(), ObjectError> {
        self.size += bytes.len();
        self.digest.update(&bytes);
        while !bytes.is_empty() {
            if self.chunk.capacity() == 0 {
                self.chunk.reserve(CHUNK);
            }
            let part = bytes.split_to(bytes.len().min(CHUNK - self.chunk.len()));
            self.chunk.extend_from_slice(&part);
            if self.chunk.len() == CHUNK {
                self.send_chunk().await?;
            }
        }
        Ok(())
    }

    /// How many bytes are written.
    pub fn size(&self) -> usize {
        self.size
    }

    async fn send_chunk(&mut self) -> Result<(), ObjectError> {
        while self.in_flight.len() >= CHUNKS_IN_FLIGHT {
            self.await_oldest().await?;
        }
        let payload = std::mem::take(&mut self.chunk).freeze();
        let stored = self
            .objects
            .jetstream
            .publish(chunk_subject(&self.nuid), payload)
            .await
            .map_err(|e| publish_error(&e))?;
        self.in_flight.push_back(stored);
        self.chunks += 1;
        Ok(())
    }

    async fn await_oldest(&mut self) -> Result<(), ObjectError> {
        match self.in_flight.pop_front() {
            Some(stored) => stored.into_future().await.map(drop).map_err(|e| publish_error(&e)),
            None => Ok(()),
        }
    }

    /// Waits until every byte is stored. Gives the digest of all of them, `SHA-256=` and base64url.
    pub async fn finish(mut self) -> Result<CommittedBytes, (Self, ObjectError)> {
        if !self.chunk.is_empty()
            && let Err(error) = self.send_chunk().await
        {
            return Err((self, error));
        }
        while !self.in_flight.is_empty() {
            if let Err(error) = self.await_oldest().await {
                return Err((self, error));
            }
        }
        let Self { objects, nuid, chunks, size, digest, .. } = self;
        Ok(CommittedBytes { objects, nuid, chunks, size, digest: digest_text(digest) })
    }

    /// Removes what was written.
    pub async fn discard(self) {
        for stored in self.in_flight {
            // A chunk that arrives after the purge would stay.
            drop(stored.into_future().await);
        }
        self.objects.purge_chunks(&self.nuid).await;
    }
}

/// Bytes that are all stored, and have no name yet.
pub struct CommittedBytes {
    objects: Objects,
    nuid: String,
    chunks: usize,
    size: usize,
    /// Of all bytes: `SHA-256=` and base64url.
    pub digest: String,
}

impl CommittedBytes {
    /// How many bytes.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Makes it an object that is kept for one video. On an error it is removed.
    pub async fn keep(self, name: &str, video: &str) -> Result<(), ObjectError> {
        let info = ObjectInfo {
            name: name.to_owned(),
            description: None,
            metadata: HashMap::from([(VIDEO.to_owned(), video.to_owned())]),
            headers: None,
            options: Some(ObjectOptions { link: None, max_chunk_size: Some(CHUNK) }),
            bucket: UPLOADS_BUCKET.to_owned(),
            nuid: self.nuid.clone(),
            size: self.size,
            chunks: self.chunks,
            modified: None,
            digest: Some(self.digest.clone()),
            deleted: false,
        };
        let subject = format!("$O.{UPLOADS_BUCKET}.M.{}", URL_SAFE.encode(name));
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Rollup", "sub");
        let jetstream = &self.objects.jetstream;
        let stored = async {
            jetstream
                .publish_with_headers(subject, headers, crate::messages::to_json(&info).into())
                .await?
                .await
        };
        if let Err(error) = stored.await {
            self.discard().await;
            return Err(publish_error(&error));
        }
        Ok(())
    }

    /// Removes the bytes.
    pub async fn discard(self) {
        self.objects.purge_chunks(&self.nuid).await;
    }
}

/// An object that is being read, a chunk at a time.
pub struct ObjectReader {
    objects: Objects,
    uri: String,
    info: ObjectInfo,
    /// Where in the store's stream the next chunk can be.
    next: u64,
    chunks: usize,
    size: usize,
    digest: digest::Context,
}

impl ObjectReader {
    /// The next chunk; `None` after the last one, when all of them are what was written.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ObjectError> {
        if self.chunks == self.info.chunks {
            return self.check().map(|()| None);
        }
        let chunk = self.chunk().await?;
        self.chunks += 1;
        self.size += chunk.len();
        self.digest.update(&chunk);
        Ok(Some(chunk))
    }

    /// A replica of the store that lags behind has no such chunk yet: it is asked for again before
    /// it is called missing.
    async fn chunk(&mut self) -> Result<Bytes, ObjectError> {
        let subject = chunk_subject(&self.info.nuid);
        let mut attempts = 0;
        loop {
            attempts += 1;
            let error = match self
                .objects
                .stream
                .direct_get_next_for_subject(&subject, Some(self.next))
                .await
            {
                Ok(message) => {
                    self.next = message.sequence + 1;
                    return Ok(message.payload);
                }
                Err(error) => error,
            };
            if attempts == READ_ATTEMPTS {
                return Err(match error.kind() {
                    DirectGetErrorKind::NotFound => {
                        let reason = format!(
                            "{} of its {} chunks are missing",
                            self.info.chunks - self.chunks,
                            self.info.chunks
                        );
                        ObjectError::Damaged { uri: self.uri.clone(), reason }
                    }
                    _ => ObjectError::Unavailable(error.to_string()),
                });
            }
            tokio::time::sleep(READ_PAUSE).await;
        }
    }

    fn check(&self) -> Result<(), ObjectError> {
        let damaged = |reason: String| Err(ObjectError::Damaged { uri: self.uri.clone(), reason });
        if self.size != self.info.size {
            return damaged(format!("{} bytes instead of {}", self.size, self.info.size));
        }
        match &self.info.digest {
            Some(digest) if *digest != digest_text(self.digest.clone()) => {
                damaged("its digest is another".into())
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_names_an_object_of_the_uploads_only() {
        let name = |uri: &str| object_name(&Url::parse(uri).unwrap()).ok();
        assert_eq!(name("obj://uploads/a.mp4").as_deref(), Some("a.mp4"));
        assert_eq!(name("obj://uploads/harbour/a%20b.mp4").as_deref(), Some("harbour/a b.mp4"));
        for uri in [
            "obj://others/a.mp4",
            "obj://uploads/",
            "obj://uploads",
            "obj:a.mp4",
            "file:///a.mp4",
            "obj://uploads/%ff",
        ] {
            assert_eq!(name(uri), None, "{uri}");
        }
    }
}

use std::collections::{HashMap, VecDeque};
use std::future::IntoFuture;

use async_nats::jetstream::context::PublishAckFuture;
use async_nats::jetstream::object_store::{ObjectInfo, ObjectOptions};
use bytes::{Bytes, BytesMut};
use ring::digest;

use super::chunks::{CHUNK, ChunkStore, VIDEO, digest_text};
use super::error::{ObjectError, publish_error};

/// Chunks of one object that are in flight to the server.
const CHUNKS_IN_FLIGHT: usize = 4;

/// An object that is being written. It becomes visible with [`CommittedBytes::keep`].
///
/// [`discard`](Self::discard) what is not needed: dropped, it leaves its bytes in the store until
/// they expire.
pub struct ObjectWriter {
    store: ChunkStore,
    nuid: String,
    chunk: BytesMut,
    in_flight: VecDeque<PublishAckFuture>,
    chunks: usize,
    size: usize,
    digest: digest::Context,
}

impl ObjectWriter {
    pub(super) fn new(store: ChunkStore) -> Self {
        Self {
            store,
            nuid: nuid::next().to_string(),
            chunk: BytesMut::new(),
            in_flight: VecDeque::new(),
            chunks: 0,
            size: 0,
            digest: digest::Context::new(&digest::SHA256),
        }
    }

    /// Appends bytes; waits while too many are in flight. After an error, discard the object.
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

    /// Bytes written so far.
    pub fn size(&self) -> usize {
        self.size
    }

    async fn send_chunk(&mut self) -> Result<(), ObjectError> {
        while self.in_flight.len() >= CHUNKS_IN_FLIGHT {
            self.await_oldest().await?;
        }
        let payload = std::mem::take(&mut self.chunk).freeze();
        let stored = self
            .store
            .jetstream
            .publish(self.store.chunk_subject(&self.nuid), payload)
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

    /// Waits until every byte is stored. On an error, discard the returned writer.
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
        let Self { store, nuid, chunks, size, digest, .. } = self;
        Ok(CommittedBytes { store, nuid, chunks, size, digest: digest_text(digest) })
    }

    /// Deletes what was written.
    pub async fn discard(self) {
        for stored in self.in_flight {
            // A chunk that arrives after the purge would remain.
            drop(stored.into_future().await);
        }
        self.store.purge(&self.nuid).await;
    }
}

/// Stored bytes that do not have a name yet.
pub struct CommittedBytes {
    store: ChunkStore,
    nuid: String,
    chunks: usize,
    size: usize,
    /// Digest of all bytes: `SHA-256=` and base64url.
    pub digest: String,
}

impl CommittedBytes {
    /// Number of bytes.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Makes the bytes an object of a video. Deletes them on an error.
    pub async fn keep(self, name: &str, video: &str) -> Result<(), ObjectError> {
        let metadata = HashMap::from([(VIDEO.to_owned(), video.to_owned())]);
        match self.describe(name, metadata, false).await {
            Ok(()) => Ok(()),
            Err(error) => {
                self.discard().await;
                Err(error)
            }
        }
    }

    /// Makes the bytes an object; with `is_new`, only if no object ever had this name.
    pub(crate) async fn describe(
        &self,
        name: &str,
        metadata: HashMap<String, String>,
        is_new: bool,
    ) -> Result<(), ObjectError> {
        let info = ObjectInfo {
            name: name.to_owned(),
            description: None,
            metadata,
            headers: None,
            options: Some(ObjectOptions { link: None, max_chunk_size: Some(CHUNK) }),
            bucket: self.store.bucket.to_owned(),
            nuid: self.nuid.clone(),
            size: self.size,
            chunks: self.chunks,
            modified: None,
            digest: Some(self.digest.clone()),
            deleted: false,
        };
        self.store.describe(&info, is_new).await.map_err(|error| error.named(name))
    }

    /// Deletes the bytes.
    pub async fn discard(self) {
        self.store.purge(&self.nuid).await;
    }
}

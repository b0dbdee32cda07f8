use std::time::Duration;

use async_nats::jetstream::object_store::ObjectInfo;
use async_nats::jetstream::stream::DirectGetErrorKind;
use bytes::Bytes;
use ring::digest;

use super::chunks::{ChunkStore, digest_text};
use super::error::ObjectError;

const READ_ATTEMPTS: u32 = 10;
const READ_PAUSE: Duration = Duration::from_millis(300);

/// An object that is being read, one chunk at a time.
pub struct ObjectReader {
    chunk_store: ChunkStore,
    uri: String,
    info: ObjectInfo,
    /// The smallest stream sequence that the next chunk can have.
    next: u64,
    chunks: usize,
    size: usize,
    digest: digest::Context,
}

impl ObjectReader {
    pub(super) fn new(chunk_store: ChunkStore, uri: String, info: ObjectInfo) -> Self {
        Self {
            chunk_store,
            uri,
            info,
            next: 0,
            chunks: 0,
            size: 0,
            digest: digest::Context::new(&digest::SHA256),
        }
    }

    /// The next chunk; `None` after the last one, once size and digest are checked.
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

    /// Retries before it reports a chunk as missing: a replica may lag behind.
    async fn chunk(&mut self) -> Result<Bytes, ObjectError> {
        let subject = self.chunk_store.chunk_subject(&self.info.nuid);
        let stream = &self.chunk_store.stream;
        let mut attempts = 0;
        loop {
            attempts += 1;
            let error = match stream.direct_get_next_for_subject(&subject, Some(self.next)).await {
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
                damaged("its digest differs".into())
            }
            _ => Ok(()),
        }
    }
}

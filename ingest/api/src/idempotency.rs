//! `Idempotency-Key`: which upload was sent with which key, in a bucket that all ingests share.

use async_nats::jetstream::kv::{CreateErrorKind, Operation, Store, UpdateErrorKind};
use axum::http::HeaderMap;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use moliceiro_nats::messages::{Upload, to_json};
use ring::digest::SHA256;
use serde::{Deserialize, Serialize};
use utoipa::IntoParams;

use crate::problem::Problem;

const HEADER: &str = "idempotency-key";
const MAX_LENGTH: usize = 255;

/// The header in the OpenAPI description.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "it only describes the header")]
pub(crate) struct KeyHeader {
    /// 1 to 255 characters of your choice, new for each upload. If you send the same content with
    /// the same key again, it is the same video.
    #[param(rename = "Idempotency-Key", required = false, pattern = "^[!-~]{1,255}$")]
    idempotency_key: Option<String>,
}

/// The client's key for one upload.
#[derive(Clone, Debug)]
pub(crate) struct Key(String);

impl Key {
    /// The key in a request's headers, if it has one.
    pub(crate) fn from_headers(headers: &HeaderMap) -> Result<Option<Self>, Problem> {
        let Some(value) = headers.get(HEADER) else { return Ok(None) };
        match value.to_str() {
            Ok(key)
                if (1..=MAX_LENGTH).contains(&key.len())
                    && key.bytes().all(|b| b.is_ascii_graphic()) =>
            {
                Ok(Some(Self(key.to_owned())))
            }
            _ => Err(Problem::bad_request(format!(
                "Idempotency-Key must be 1 to {MAX_LENGTH} printable ASCII characters, \
                 without blanks"
            ))),
        }
    }

    /// The key of one of several files that are sent with this key.
    pub(crate) fn part(&self, number: usize) -> Self {
        Self(format!("{}/{number}", self.0))
    }

    fn entry(&self) -> String {
        digest(self.0.as_bytes())
    }
}

/// SHA-256, encoded such that it is a valid key of a bucket.
pub(crate) fn digest(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(ring::digest::digest(&SHA256, bytes))
}

/// The upload that was sent with a key.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct SentUpload {
    /// Digest of the content, to recognise other content with the same key.
    pub(crate) digest: String,
    pub(crate) upload: Upload,
}

/// An upload that is recorded under a key.
pub(crate) struct RecordedUpload {
    pub(crate) sent: SentUpload,
    revision: u64,
}

/// The keys of recent uploads; they expire with the bucket's entries.
#[derive(Clone)]
pub(crate) struct SentKeys(Store);

impl SentKeys {
    pub(crate) fn new(bucket: Store) -> Self {
        Self(bucket)
    }

    pub(crate) async fn find(&self, key: &Key) -> Result<Option<RecordedUpload>, Problem> {
        let found = self.0.entry(key.entry()).await.map_err(Problem::unavailable)?;
        let Some(found) = found.filter(|found| found.operation == Operation::Put) else {
            return Ok(None);
        };
        let sent = serde_json::from_slice(&found.value).map_err(Problem::unavailable)?;
        Ok(Some(RecordedUpload { sent, revision: found.revision }))
    }

    /// Records an upload under its key; in place of another one, if that is still the last. If the
    /// key is in use, returns the upload that was sent with it first.
    pub(crate) async fn record(
        &self,
        key: &Key,
        sent: &SentUpload,
        replaces: Option<&RecordedUpload>,
    ) -> Result<Option<RecordedUpload>, Problem> {
        let (entry, value) = (key.entry(), to_json(sent).into());
        let is_used = match replaces {
            None => match self.0.create(entry, value).await {
                Ok(_) => false,
                Err(error) if error.kind() == CreateErrorKind::AlreadyExists => true,
                Err(error) => return Err(Problem::unavailable(error)),
            },
            Some(replaced) => match self.0.update(entry, value, replaced.revision).await {
                Ok(_) => false,
                Err(error) if error.kind() == UpdateErrorKind::WrongLastRevision => true,
                Err(error) => return Err(Problem::unavailable(error)),
            },
        };
        if is_used { self.find(key).await } else { Ok(None) }
    }
}

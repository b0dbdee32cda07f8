//! `Idempotency-Key`: what was sent with which key, in a bucket that all ingests share.

use async_nats::jetstream::kv::{CreateErrorKind, Store};
use axum::http::HeaderMap;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use moliceiro_nats::messages::{Upload, to_json};
use ring::digest::SHA256;
use serde::{Deserialize, Serialize};
use utoipa::IntoParams;

use super::problem::Problem;

const HEADER: &str = "idempotency-key";
const MAX_LENGTH: usize = 255;

/// The header, for the description.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "it describes the header")]
pub(super) struct KeyHeader {
    /// 1 to 255 characters of the client's choice, new for each upload: the same content sent again
    /// with the same key is the same video.
    #[param(rename = "Idempotency-Key", required = false, pattern = "^[!-~]{1,255}$")]
    idempotency_key: Option<String>,
}

/// The client's name for one upload.
#[derive(Clone, Debug)]
pub(super) struct Key(String);

impl Key {
    /// The key that a request has.
    pub(super) fn of(headers: &HeaderMap) -> Result<Option<Self>, Problem> {
        let Some(value) = headers.get(HEADER) else { return Ok(None) };
        match value.to_str() {
            Ok(key)
                if (1..=MAX_LENGTH).contains(&key.len())
                    && key.bytes().all(|b| b.is_ascii_graphic()) =>
            {
                Ok(Some(Self(key.to_owned())))
            }
            _ => Err(Problem::bad_request(format!(
                "Idempotency-Key has to be 1 to {MAX_LENGTH} letters, digits and signs, without blanks"
            ))),
        }
    }

    /// The key of one file of several.
    pub(super) fn part(&self, number: usize) -> Self {
        Self(format!("{}/{number}", self.0))
    }

    fn entry(&self) -> String {
        digest(self.0.as_bytes())
    }
}

/// SHA-256 as text that can be a key in a bucket.
pub(super) fn digest(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(ring::digest::digest(&SHA256, bytes))
}

/// What was sent with a key.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Record {
    /// Of the content.
    pub(super) digest: String,
    /// What became of it.
    pub(super) upload: Upload,
}

/// All keys that were used lately.
#[derive(Clone)]
pub(super) struct Keys(pub(super) Store);

impl Keys {
    pub(super) async fn find(&self, key: &Key) -> Result<Option<Record>, Problem> {
        let Some(bytes) = self.0.get(key.entry()).await.map_err(Problem::unavailable)? else {
            return Ok(None);
        };
        serde_json::from_slice(&bytes).map(Some).map_err(Problem::unavailable)
    }

    /// Keeps what was sent, unless the key was used before: then gives what was sent first.
    pub(super) async fn keep(&self, key: &Key, record: &Record) -> Result<Option<Record>, Problem> {
        match self.0.create(key.entry(), to_json(record).into()).await {
            Ok(_) => Ok(None),
            Err(error) if error.kind() == CreateErrorKind::AlreadyExists => self.find(key).await,
            Err(error) => Err(Problem::unavailable(error)),
        }
    }
}

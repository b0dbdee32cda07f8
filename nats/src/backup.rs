//! Copies everything to another server or cluster: streams with their sequences, consumers with what
//! is acknowledged, buckets and object stores.
//!
//! The server makes a [snapshot] of each stream. They are made one after the other, while services
//! run, in an order that makes them fit together: what a service writes last is copied first. So a
//! video continues from the copy as it does after a crash: a frame may be in the queue though its
//! result is stored, but never in neither. Uploaded bytes, which are stored first, are copied last:
//! so what is in the copy of a video that was uploaded meanwhile is enough to decode it again.
//!
//! [snapshot]: https://docs.nats.io/reference/reference-protocols/nats_api_reference

mod error;
mod files;
mod restore;
mod snapshot;

use std::path::Path;
use std::pin::pin;
use std::time::{Duration, SystemTime};

use async_nats::{Client, Request, RequestErrorKind};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::subjects::{
    ADVISORIES, ATTEMPTS_BUCKET, AUDIT, DEAD, FOLDS_BUCKET, FRAMES, MODELS_BUCKET, REQUESTS_BUCKET,
    RESULTS, STILLS, SUMMARIES, TRACKS, UPLOADS, UPLOADS_BUCKET, VIDEOS_BUCKET,
};

pub use error::BackupError;
pub use restore::restore;

use files::Folder;

const API_TIMEOUT: Duration = Duration::from_secs(30);
const LEADER_TIMEOUT: Duration = Duration::from_secs(2);
/// The version of the files of a backup.
const VERSION: u8 = 1;

/// All streams, in the order in which they are copied: before one that has to know of what was done.
///
/// An upload is acknowledged when its frames are in the queue, a frame when its result is stored, a
/// result when it is in the entry of its video and what follows from it is published.
fn names() -> Vec<String> {
    let buckets = [ATTEMPTS_BUCKET, FOLDS_BUCKET, VIDEOS_BUCKET, REQUESTS_BUCKET];
    let stores = [UPLOADS_BUCKET, MODELS_BUCKET];
    [UPLOADS, FRAMES, RESULTS, ADVISORIES, DEAD, SUMMARIES, TRACKS, STILLS]
        .map(str::to_owned)
        .into_iter()
        .chain(buckets.map(|bucket| format!("KV_{bucket}")))
        .chain(stores.map(|store| format!("OBJ_{store}")))
        .chain([AUDIT.to_owned()])
        .collect()
}

/// What is in a backup, as JSON in its file `backup.json`, which is written last.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Contents {
    version: u8,
    /// Each upload that was accepted before is in it, and each later one whole or not at all.
    /// Milliseconds since 1970-01-01 UTC.
    as_of: u64,
    /// The version of the nats-server.
    server: String,
    streams: Vec<SavedStream>,
}

/// A stream in a backup.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SavedStream {
    /// Its name.
    pub name: String,
    /// Messages in it.
    pub messages: u64,
    /// Its consumers.
    pub consumers: u64,
    /// The file with its messages. `None`: it was in the memory of the server, which cannot copy
    /// that, and only its configuration is kept.
    pub file: Option<SavedFile>,
    /// Its configuration, as the server has it.
    config: Value,
    /// Its state, as the server has it.
    state: Value,
}

/// A file of a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedFile {
    /// Its length.
    pub bytes: u64,
    /// In hexadecimal.
    sha256: String,
}

/// Copies all streams that exist into a new or empty folder, and calls `saved` with each. Returns the
/// instant that it is a copy of. `api`: how the subjects of requests to JetStream begin. If it fails,
/// or `interrupted` ends first, nothing is left in the folder.
pub async fn back_up(
    client: &Client,
    api: &str,
    folder: &Path,
    interrupted: impl Future<Output = ()>,
    saved: impl FnMut(&SavedStream),
) -> Result<SystemTime, BackupError> {
    let api = Api { client, prefix: api };
    let folder = Folder::create(folder)?;
    let done = Box::pin(copy_all(&api, &folder, interrupted, saved)).await;
    if done.is_err() {
        folder.discard();
    }
    done
}

async fn copy_all(
    api: &Api<'_>,
    folder: &Folder,
    interrupted: impl Future<Output = ()>,
    mut saved: impl FnMut(&SavedStream),
) -> Result<SystemTime, BackupError> {
    let (as_of, instant) = (crate::messages::milliseconds_now(), SystemTime::now());
    let mut interrupted = pin!(interrupted);
    let mut streams = Vec::new();
    for name in names() {
        if !api.has_stream(&name).await? {
            continue;
        }
        let stream = Box::pin(snapshot::save(api, &name, folder, &mut interrupted)).await?;
        saved(&stream);
        streams.push(stream);
    }
    if streams.is_empty() {
        return Err(BackupError::Unused);
    }
    let server = api.client.server_info().version;
    folder.finish(&Contents { version: VERSION, as_of, server, streams })?;
    Ok(instant)
}

/// A consumer that is kept when nobody uses it.
struct Durable {
    name: String,
    config: Value,
}

impl Durable {
    fn of(mut info: Value) -> Option<Self> {
        let config = info["config"].take();
        Some(Self { name: config["durable_name"].as_str()?.to_owned(), config })
    }
}

/// Requests to JetStream.
struct Api<'a> {
    client: &'a Client,
    prefix: &'a str,
}

impl Api<'_> {
    /// The answer to a request such as `STREAM.INFO.FRAMES`.
    async fn ask(&self, what: &str, payload: &Value) -> Result<Value, BackupError> {
        self.ask_at(&format!("{}.{what}", self.prefix), what, payload.to_string().into()).await
    }

    async fn ask_at(
        &self,
        subject: &str,
        what: &str,
        payload: bytes::Bytes,
    ) -> Result<Value, BackupError> {
        let request = Request::new().payload(payload).timeout(Some(API_TIMEOUT));
        let answer = self.client.send_request(subject.to_owned(), request).await;
        let answer = answer.map_err(|error| match error.kind() {
            RequestErrorKind::NoResponders => BackupError::NoResponders(what.to_owned()),
            _ => BackupError::no_answer(what, error),
        })?;
        if answer.payload.is_empty() {
            return Ok(Value::Null);
        }
        let answer: Value = serde_json::from_slice(&answer.payload)
            .map_err(|error| BackupError::no_answer(what, error))?;
        match answer.get("error") {
            None | Some(Value::Null) => Ok(answer),
            Some(error) => Err(BackupError::Refused {
                what: what.to_owned(),
                code: error["err_code"].as_u64().unwrap_or_default(),
                reason: error["description"].as_str().unwrap_or("no reason given").to_owned(),
            }),
        }
    }

    async fn has_stream(&self, name: &str) -> Result<bool, BackupError> {
        const STREAM_NOT_FOUND: u64 = 10059;
        let what = format!("STREAM.INFO.{name}");
        let asking = async {
            // Servers that have no leader yet do not answer, also not when they have one.
            loop {
                let asked = tokio::time::timeout(LEADER_TIMEOUT, self.ask(&what, &json!({}))).await;
                if let Ok(answer) = asked {
                    return answer;
                }
            }
        };
        let answer = tokio::time::timeout(API_TIMEOUT, asking).await;
        match answer.unwrap_or_else(|error| Err(BackupError::no_answer(&what, error))) {
            Ok(_) => Ok(true),
            Err(BackupError::Refused { code: STREAM_NOT_FOUND, .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The configurations of the consumers that are kept when nobody uses them.
    async fn durable_consumers(&self, stream: &str) -> Result<Vec<Durable>, BackupError> {
        let mut found: Vec<Value> = Vec::new();
        loop {
            let what = format!("CONSUMER.LIST.{stream}");
            let page = self.ask(&what, &json!({ "offset": found.len() })).await?;
            let consumers = page["consumers"].as_array().cloned().unwrap_or_default();
            let total = page["total"].as_u64().unwrap_or_default();
            let is_last = consumers.is_empty();
            found.extend(consumers);
            if is_last || found.len() as u64 >= total {
                break;
            }
        }
        Ok(found.into_iter().filter_map(Durable::of).collect())
    }

    /// Gives a consumer as many replicas as its stream has, also when that changes: it has to follow
    /// a stream that is restored with others.
    async fn follow_stream(&self, stream: &str, consumer: &Durable) -> Result<(), BackupError> {
        let Durable { name, config } = consumer;
        if config["num_replicas"].as_u64().unwrap_or_default() == 0 {
            return Ok(());
        }
        let mut config = config.clone();
        config["num_replicas"] = json!(0);
        let update = json!({ "stream_name": stream, "config": config, "action": "update" });
        self.ask(&format!("CONSUMER.DURABLE.CREATE.{stream}.{name}"), &update).await?;
        Ok(())
    }

    /// Stops the delivery of a consumer's messages, or resumes it.
    async fn pause(
        &self,
        stream: &str,
        consumer: &str,
        until: Option<String>,
    ) -> Result<(), BackupError> {
        let what = format!("CONSUMER.PAUSE.{stream}.{consumer}");
        self.ask(&what, &until.map_or(json!({}), |until| json!({ "pause_until": until }))).await?;
        Ok(())
    }
}

//! A snapshot of one stream.

use std::time::{Duration, SystemTime};

use async_nats::{StatusCode, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt;
use serde_json::{Value, json};
use tracing::warn;

use super::files::{CHUNK, Folder, Writer};
use super::{Api, BackupError, Durable, SavedStream};

/// Consumers are paused for so long at most, even if this program dies.
const LONGEST_PAUSE: Duration = Duration::from_secs(10 * 60);
const CHUNK_TIMEOUT: Duration = Duration::from_secs(30);
const PAUSED_TIMEOUT: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(20);

/// Copies a stream with its consumers.
///
/// The server writes the state of consumers after the messages. While they are paused, no consumer
/// can be ahead of the messages that were copied, and skip those that get their numbers later.
pub(super) async fn save(
    api: &Api<'_>,
    name: &str,
    folder: &Folder,
    interrupted: &mut (impl Future<Output = ()> + Unpin),
) -> Result<SavedStream, BackupError> {
    let consumers = api.durable_consumers(name).await?;
    let copying = async {
        let until = SystemTime::now() + LONGEST_PAUSE;
        let until = humantime::format_rfc3339_seconds(until).to_string();
        for consumer in &consumers {
            pause(api, name, consumer, &until).await?;
        }
        copy(api, name, folder, consumers.len() as u64).await
    };
    let saved = tokio::select! {
        saved = copying => saved,
        () = interrupted => Err(BackupError::Interrupted),
    };
    for Durable { name: consumer, .. } in &consumers {
        if let Err(error) = api.pause(name, consumer, None).await {
            warn!(%error, consumer, "a consumer stays paused for up to ten minutes");
        }
    }
    saved
}

async fn pause(
    api: &Api<'_>,
    name: &str,
    durable: &Durable,
    until: &str,
) -> Result<(), BackupError> {
    api.follow_stream(name, durable).await?;
    let consumer = &durable.name;
    api.pause(name, consumer, Some(until.to_owned())).await?;
    // In a cluster, the answer comes before its leader knows.
    let what = format!("CONSUMER.INFO.{name}.{consumer}");
    let is_paused = async {
        while api.ask(&what, &json!({})).await?["paused"] != true {
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    };
    match tokio::time::timeout(PAUSED_TIMEOUT, is_paused).await {
        Ok(paused) => paused,
        Err(_) => Err(BackupError::no_answer(&what, "it is not paused")),
    }
}

async fn copy(
    api: &Api<'_>,
    name: &str,
    folder: &Folder,
    consumers: u64,
) -> Result<SavedStream, BackupError> {
    let info = api.ask(&format!("STREAM.INFO.{name}"), &json!({})).await?;
    if info["config"]["storage"] == "memory" {
        return Ok(described(name, info, consumers, None));
    }
    let what = format!("STREAM.SNAPSHOT.{name}");
    let inbox = api.client.new_inbox();
    let chunks = api.client.subscribe(inbox.clone()).await;
    let chunks = chunks.map_err(|error| BackupError::no_answer(&what, error))?;
    let mut writer = folder.writer(name)?;
    let request = json!({ "deliver_subject": inbox, "chunk_size": CHUNK });
    let answer = match api.ask(&what, &request).await {
        Ok(answer) => answer,
        Err(error) => {
            drop(writer);
            folder.remove(name)?;
            return Err(error);
        }
    };
    receive(api, &what, chunks, &mut writer).await?;
    Ok(described(name, answer, consumers, Some(writer.finish()?)))
}

fn described(
    name: &str,
    mut answer: Value,
    consumers: u64,
    file: Option<super::SavedFile>,
) -> SavedStream {
    let (config, state) = (answer["config"].take(), answer["state"].take());
    let messages = state["messages"].as_u64().unwrap_or_default();
    SavedStream { name: name.to_owned(), messages, consumers, file, config, state }
}

/// Each part is acknowledged; an empty one is the end.
async fn receive(
    api: &Api<'_>,
    what: &str,
    mut chunks: Subscriber,
    writer: &mut Writer,
) -> Result<(), BackupError> {
    let failed = |reason: &dyn std::fmt::Display| BackupError::no_answer(what, reason);
    loop {
        let chunk = tokio::time::timeout(CHUNK_TIMEOUT, chunks.next()).await;
        let chunk = chunk.map_err(|_| failed(&"it stopped in the middle"))?;
        let chunk = chunk.ok_or_else(|| failed(&"the connection is lost"))?;
        if chunk.payload.is_empty() {
            return match chunk.status {
                None | Some(StatusCode::OK) => Ok(()),
                Some(status) if status.as_u16() == NO_CONTENT => Ok(()),
                Some(status) => {
                    let reason = chunk.description.unwrap_or_default();
                    Err(failed(&format!("{} {reason}", status.as_u16())))
                }
            };
        }
        writer.write(&chunk.payload)?;
        if let Some(reply) = chunk.reply {
            api.client.publish(reply, Bytes::new()).await.map_err(|error| failed(&error))?;
        }
    }
}

/// How the server ends a snapshot that is complete.
const NO_CONTENT: u16 = 204;

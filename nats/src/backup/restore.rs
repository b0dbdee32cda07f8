//! Streams from the files of a backup.

use std::path::Path;
use std::pin::pin;
use std::time::Duration;

use async_nats::Client;
use bytes::Bytes;
use serde_json::{Value, json};
use tokio::time::Instant;
use tracing::warn;

use super::files::Folder;
use super::{API_TIMEOUT, Api, BackupError, Contents, Durable, SavedStream};

const POLL: Duration = Duration::from_millis(50);
/// Of a stream that may still be made.
const LATE_POLLS: u32 = 20;

/// Makes the streams of a backup on a server that has none of them, and calls `restored` with each. If
/// one cannot be made, or `interrupted` ends first, none is left. `replicas`: of each stream; `None`:
/// as many as it had.
pub async fn restore(
    client: &Client,
    api: &str,
    folder: &Path,
    replicas: Option<usize>,
    interrupted: impl Future<Output = ()>,
    mut restored: impl FnMut(&SavedStream),
) -> Result<(), BackupError> {
    let mut interrupted = pin!(interrupted);
    let api = Api { client, prefix: api };
    let (folder, contents) = tokio::select! {
        opened = open(&api, folder) => opened?,
        () = &mut interrupted => return Err(BackupError::Interrupted),
    };
    for (done, stream) in contents.streams.iter().enumerate() {
        let made = tokio::select! {
            made = Box::pin(restore_stream(&api, &folder, stream, replicas)) => {
                made.map_err(|error| explained(error, stream, replicas))
            }
            () = &mut interrupted => Err(BackupError::Interrupted),
        };
        if let Err(error) = made {
            for stream in &contents.streams[..=done] {
                delete(&api, &stream.name).await;
            }
            if matches!(error, BackupError::Interrupted) {
                delete_late(&api, &stream.name).await;
            }
            return Err(error);
        }
        restored(stream);
    }
    Ok(())
}

/// Opens a backup, of which no stream may exist yet.
async fn open(api: &Api<'_>, folder: &Path) -> Result<(Folder, Contents), BackupError> {
    let folder = folder.to_owned();
    // It reads and checks every file.
    let opening = tokio::task::spawn_blocking(move || Folder::open(&folder));
    let (folder, contents) = match opening.await {
        Ok(opened) => opened?,
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    };
    for stream in &contents.streams {
        if api.has_stream(&stream.name).await? {
            return Err(BackupError::Exists(stream.name.clone()));
        }
    }
    Ok((folder, contents))
}

/// A server that has all chunks makes the stream although nobody waits for its answer.
async fn delete_late(api: &Api<'_>, name: &str) {
    for _ in 0..LATE_POLLS {
        tokio::time::sleep(POLL).await;
        if api.has_stream(name).await.is_ok_and(|exists| exists) {
            delete(api, name).await;
        }
    }
}

/// A stream that may not exist.
async fn delete(api: &Api<'_>, name: &str) {
    if let Err(error) = api.ask(&format!("STREAM.DELETE.{name}"), &json!({})).await
        && !matches!(error, BackupError::Refused { .. })
    {
        warn!(%error, stream = name, "a stream is left: delete it");
    }
}

async fn restore_stream(
    api: &Api<'_>,
    folder: &Folder,
    stream: &SavedStream,
    replicas: Option<usize>,
) -> Result<(), BackupError> {
    let (name, config) = (&stream.name, &configuration(stream, replicas));
    if stream.file.is_none() {
        api.ask(&format!("STREAM.CREATE.{name}"), config).await?;
        return Ok(());
    }
    let what = format!("STREAM.RESTORE.{name}");
    let answer = api.ask(&what, &json!({ "config": config, "state": stream.state })).await?;
    let subject = answer["deliver_subject"].as_str();
    let subject = subject.ok_or_else(|| BackupError::no_answer(&what, "it names no subject"))?;
    let mut reader = folder.reader(name)?;
    while let Some(chunk) = reader.chunk()? {
        send(api, subject, &what, chunk.into()).await?;
    }
    send(api, subject, &what, Bytes::new()).await?;
    // Each is paused, as it was when it was copied.
    for consumer in restored_consumers(api, stream).await? {
        api.pause(name, &consumer.name, None).await?;
    }
    Ok(())
}

/// A single server does not have replicas, and a cluster no more of them than servers.
fn explained(error: BackupError, stream: &SavedStream, replicas: Option<usize>) -> BackupError {
    // Its numbers for "not in a cluster" and "too few servers", which a failed restore quotes.
    let codes = [10074, 10005];
    let replicas = configuration(stream, replicas)["num_replicas"].as_u64().unwrap_or(1);
    match error {
        BackupError::Refused { code, reason, .. }
            if replicas > 1
                && codes.iter().any(|of| code == *of || reason.contains(&format!("({of})"))) =>
        {
            BackupError::Replicas { stream: stream.name.clone(), replicas, reason }
        }
        other => other,
    }
}

fn configuration(stream: &SavedStream, replicas: Option<usize>) -> Value {
    let mut config = stream.config.clone();
    if let (Some(replicas), Some(fields)) = (replicas, config.as_object_mut()) {
        fields.insert("num_replicas".to_owned(), replicas.into());
        if replicas > 1 {
            // The server acknowledges what it has not written yet, without replicas only.
            fields.remove("persist_mode");
        }
    }
    config
}

/// In a cluster, the server that restores may be another one: this client's own server hears of the
/// subject a moment later.
async fn send(api: &Api<'_>, subject: &str, what: &str, chunk: Bytes) -> Result<(), BackupError> {
    let deadline = Instant::now() + API_TIMEOUT;
    loop {
        match api.ask_at(subject, what, chunk.clone()).await {
            Err(BackupError::NoResponders(_)) if Instant::now() < deadline => {
                tokio::time::sleep(POLL).await;
            }
            sent => return sent.map(drop),
        }
    }
}

/// A cluster makes them after it has answered.
async fn restored_consumers(
    api: &Api<'_>,
    stream: &SavedStream,
) -> Result<Vec<Durable>, BackupError> {
    let name = &stream.name;
    let deadline = Instant::now() + API_TIMEOUT;
    loop {
        let consumers = api.durable_consumers(name).await?;
        if consumers.len() as u64 >= stream.consumers {
            return Ok(consumers);
        }
        if Instant::now() >= deadline {
            let reason = format!("{} of {} consumers", consumers.len(), stream.consumers);
            return Err(BackupError::no_answer(&format!("STREAM.RESTORE.{name}"), reason));
        }
        tokio::time::sleep(POLL).await;
    }
}

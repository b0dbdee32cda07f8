//! Streams from the files of a backup.

use std::path::Path;
use std::time::Duration;

use async_nats::Client;
use bytes::Bytes;
use serde_json::json;
use tokio::time::Instant;
use tracing::warn;

use super::files::Folder;
use super::{API_TIMEOUT, Api, BackupError, SavedStream};

const POLL: Duration = Duration::from_millis(50);

/// Makes the streams of a backup on a server that has none of them, each with as many replicas as it
/// had, and calls `restored` with each. If one cannot be made, none is left.
pub async fn restore(
    client: &Client,
    api: &str,
    folder: &Path,
    mut restored: impl FnMut(&SavedStream),
) -> Result<(), BackupError> {
    let api = Api { client, prefix: api };
    let (folder, contents) = Folder::open(folder)?;
    for stream in &contents.streams {
        if api.has_stream(&stream.name).await? {
            return Err(BackupError::Exists(stream.name.clone()));
        }
    }
    for (done, stream) in contents.streams.iter().enumerate() {
        if let Err(error) = Box::pin(restore_stream(&api, &folder, stream)).await {
            for stream in &contents.streams[..=done] {
                let what = format!("STREAM.DELETE.{}", stream.name);
                // The one that failed may not exist.
                if let Err(error) = api.ask(&what, &json!({})).await
                    && !matches!(error, BackupError::Refused { .. })
                {
                    warn!(%error, stream = stream.name, "a stream is left: delete it");
                }
            }
            return Err(error);
        }
        restored(stream);
    }
    Ok(())
}

async fn restore_stream(
    api: &Api<'_>,
    folder: &Folder,
    stream: &SavedStream,
) -> Result<(), BackupError> {
    let (name, config) = (&stream.name, &stream.config);
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
        api.ask_at(subject, &what, chunk.into()).await?;
    }
    api.ask_at(subject, &what, Bytes::new()).await?;
    // Each is paused, as it was when it was copied.
    for consumer in restored_consumers(api, stream).await? {
        api.pause(name, &consumer, None).await?;
    }
    Ok(())
}

/// A cluster makes them after it has answered.
async fn restored_consumers(
    api: &Api<'_>,
    stream: &SavedStream,
) -> Result<Vec<String>, BackupError> {
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

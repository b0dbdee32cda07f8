//! Streams from the files of a backup.

use std::path::Path;

use async_nats::Client;
use bytes::Bytes;
use serde_json::{Value, json};
use tracing::warn;

use super::files::Folder;
use super::{Api, BackupError, SavedStream};

/// Makes the streams of a backup on a server that has none of them, each with so many replicas, and
/// calls `restored` with each. If one cannot be made, none is left.
pub async fn restore(
    client: &Client,
    api: &str,
    replicas: usize,
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
        if let Err(error) = Box::pin(restore_stream(&api, &folder, stream, replicas)).await {
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
    replicas: usize,
) -> Result<(), BackupError> {
    let name = &stream.name;
    let mut config = stream.config.clone();
    config["num_replicas"] = replicas.into();
    if replicas > 1
        && let Some(fields) = config.as_object_mut()
    {
        // Replicas write at once.
        fields.remove("persist_mode");
    }
    if stream.file.is_none() {
        api.ask(&format!("STREAM.CREATE.{name}"), &config).await?;
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
    for consumer in api.durable_consumers(name).await? {
        continue_consumer(api, name, &consumer, replicas).await?;
    }
    Ok(())
}

/// The copy of a consumer is paused, as it was when it was copied, and has as many replicas as it
/// had.
async fn continue_consumer(
    api: &Api<'_>,
    stream: &str,
    consumer: &Value,
    replicas: usize,
) -> Result<(), BackupError> {
    let Some(name) = consumer["name"].as_str() else { return Ok(()) };
    api.pause(stream, name, None).await?;
    let had = consumer["config"]["num_replicas"].as_u64().unwrap_or_default();
    if had == 0 || had == replicas as u64 {
        return Ok(());
    }
    let mut config = consumer["config"].clone();
    config["num_replicas"] = replicas.into();
    if let Some(fields) = config.as_object_mut() {
        fields.remove("pause_until");
    }
    let what = format!("CONSUMER.DURABLE.CREATE.{stream}.{name}");
    api.ask(&what, &json!({ "stream_name": stream, "config": config })).await?;
    Ok(())
}

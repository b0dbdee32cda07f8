use std::collections::BTreeMap;

use async_nats::jetstream::stream::{LastRawMessageErrorKind, Stream};
use futures_util::TryStreamExt;
use moliceiro_nats::messages::{
    Event, Started, Upload, VideoEntry, VideoEvent, from_cbor, from_json,
};
use moliceiro_nats::{Streams, VideoId, subjects};
use tracing::warn;

use crate::options::UploadOptions;

/// A video that was uploaded and has no summary yet.
pub(crate) struct UnfinishedVideo {
    pub(crate) uri: String,
    pub(crate) name: String,
    pub(crate) options: UploadOptions,
}

impl From<Upload> for UnfinishedVideo {
    fn from(upload: Upload) -> Self {
        Self {
            uri: upload.uri.to_string(),
            name: upload.name(),
            options: UploadOptions::of_upload(upload),
        }
    }
}

impl From<Started> for UnfinishedVideo {
    fn from(started: Started) -> Self {
        Self {
            uri: started.uri.clone(),
            name: started.name.clone(),
            options: UploadOptions::of_started(started),
        }
    }
}

/// The videos that have an upload, a log or an entry on the server, and no summary.
pub(crate) async fn unfinished(
    streams: &Streams,
) -> anyhow::Result<BTreeMap<VideoId, UnfinishedVideo>> {
    let mut found = BTreeMap::new();
    for sequence in stored_sequences(&streams.uploads).await? {
        let message = streams.uploads.get_raw_message(sequence).await?;
        match Upload::parse(&message.payload) {
            Ok(upload) => {
                let video = upload.video(message.sequence, message.time.into());
                found.insert(video, UnfinishedVideo::from(upload));
            }
            Err(error) => warn!(%error, sequence, "skipping a malformed upload in the queue"),
        }
    }
    let mut logs = streams.results.info_with_subjects("results.*").await?;
    while let Some((subject, _)) = logs.try_next().await? {
        let Some(video) = VideoId::of_subject(&subject) else { continue };
        if let Some(started) = started(streams, &video, &subject).await? {
            found.entry(video).or_insert_with(|| started.into());
        }
    }
    // Retention may have deleted the first event of a log.
    let mut keys = streams.videos.keys().await?;
    while let Some(key) = keys.try_next().await? {
        let Ok(video) = VideoId::try_from(key) else { continue };
        if let Some(VideoEntry { started, summary_published: false, .. }) =
            entry(streams, &video).await?
        {
            found.entry(video).or_insert_with(|| started.into());
        }
    }
    let mut unfinished = BTreeMap::new();
    for (video, details) in found {
        if !has_summary(streams, &video).await? && !is_closed(streams, &video).await? {
            unfinished.insert(video, details);
        }
    }
    Ok(unfinished)
}

async fn has_summary(streams: &Streams, video: &VideoId) -> anyhow::Result<bool> {
    match streams.summaries.get_last_raw_message_by_subject(&subjects::summary(video)).await {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(false),
        Err(error) => Err(error.into()),
    }
}

async fn entry(streams: &Streams, video: &VideoId) -> anyhow::Result<Option<VideoEntry>> {
    Ok(streams.videos.get(video.as_str()).await?.and_then(|entry| from_json(&entry).ok()))
}

/// How a video started: from its entry, or from its log if no aggregator has seen that yet.
async fn started(streams: &Streams, video: &VideoId, log: &str) -> anyhow::Result<Option<Started>> {
    if let Some(entry) = entry(streams, video).await? {
        return Ok(Some(entry.started));
    }
    let first = streams.results.get_first_raw_message_by_subject(log, 1).await?;
    Ok(match from_cbor::<VideoEvent>(&first.payload) {
        Ok(VideoEvent { event: Event::Started(started) | Event::Queued(started), .. }) => {
            Some(started)
        }
        _ => None,
    })
}

/// Retention may delete a summary before the log of its video.
async fn is_closed(streams: &Streams, video: &VideoId) -> anyhow::Result<bool> {
    Ok(entry(streams, video).await?.is_some_and(|entry| entry.summary_published))
}

async fn stored_sequences(stream: &Stream) -> anyhow::Result<Vec<u64>> {
    let info = stream.info_builder().with_deleted(true).fetch().await?.info;
    let deleted = info.state.deleted.unwrap_or_default();
    let range = info.state.first_sequence..=info.state.last_sequence;
    Ok(if info.state.messages == 0 {
        vec![]
    } else {
        range.filter(|sequence| !deleted.contains(sequence)).collect()
    })
}

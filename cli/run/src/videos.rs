use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context;
use async_nats::jetstream::stream::LastRawMessageErrorKind;
use futures_util::TryStreamExt;
use moliceiro_nats::messages::{
    AlarmRule, Event, Fps, FrameSelection, Offset, RequestedSelection, Started, Upload, VideoEntry,
    VideoEvent, from_cbor, from_json, shown_uri, to_json,
};
use moliceiro_nats::{Streams, VideoId, subjects};
use moliceiro_service::SettingsError;
use tracing::warn;
use url::Url;

use super::follow::Audience;

/// A video that the command line names.
pub struct Request {
    pub uri: Url,
    pub name: String,
}

/// What the command line asks of each video; `None` leaves it to the settings.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted {
    pub every: Option<u64>,
    pub fps: Option<Fps>,
    pub start: Option<Offset>,
    pub end: Option<Offset>,
    pub window: Option<Offset>,
    pub alarms: Option<Vec<AlarmRule>>,
}

impl Wanted {
    /// Whether an unfinished video is what is asked for. A command that says nothing takes it as it
    /// is.
    fn fits(&self, unfinished: &Self) -> bool {
        let every = self.every.is_none_or(|every| Some(every) == unfinished.every);
        let fps = self.fps.is_none_or(|fps| Some(fps) == unfinished.fps);
        let start = self.start.is_none_or(|start| Some(start) == unfinished.start);
        let end = self.end.is_none_or(|end| Some(end) == unfinished.end);
        every && fps && start && end && (self.alarms.is_none() || self.alarms == unfinished.alarms)
    }
}

/// Reads the arguments: a URI, or else a path.
pub fn requests(videos: &[String]) -> Result<Vec<Request>, SettingsError> {
    videos
        .iter()
        .map(|video| {
            request(video)
                .map_err(|reason| SettingsError::Invalid(vec![format!("{video}: {reason}")]))
        })
        .collect()
}

fn request(video: &str) -> Result<Request, String> {
    let uri = if video.contains("://") {
        Url::parse(video).map_err(|e| format!("no URI: {e}"))?
    } else {
        let path = std::path::absolute(Path::new(video)).map_err(|e| format!("no path: {e}"))?;
        Url::from_file_path(&path)
            .map_err(|()| "this path cannot be written as a URI".to_owned())?
    };
    let name = Upload::of(uri.clone()).name();
    Ok(Request { uri, name })
}

/// The videos of this run: those asked for, and those that an earlier run left undone.
pub struct Plan {
    left: BTreeMap<VideoId, String>,
    uploads: Vec<(VideoId, Upload)>,
    /// Where all of them are.
    uris: Vec<String>,
}

impl Plan {
    /// On a private server an unfinished video that is asked for again is gone on with, not begun
    /// anew.
    pub async fn make(
        streams: &Streams,
        requests: Vec<Request>,
        wanted: &Wanted,
        audience: Audience,
    ) -> anyhow::Result<Self> {
        let mut left = match audience {
            Audience::Private => unfinished(streams)
                .await
                .context("cannot find out what an earlier run left undone")?,
            Audience::Shared => BTreeMap::new(),
        };
        let uris = requests
            .iter()
            .map(|request| request.uri.to_string())
            .chain(left.values().map(|unfinished| unfinished.uri.clone()));
        let mut plan = Self { uris: uris.collect(), left: BTreeMap::new(), uploads: Vec::new() };
        for Request { uri, name } in requests {
            let same = |unfinished: &Unfinished| {
                [uri.as_str(), &shown_uri(&uri)].contains(&unfinished.uri.as_str())
                    && wanted.fits(&unfinished.wanted)
            };
            // A part of a live source that is left is not the source.
            let found = left
                .iter()
                .find(|(video, unfinished)| !video.is_window() && same(unfinished))
                .map(|(video, _)| video.clone());
            match found.and_then(|video| left.remove_entry(&video)) {
                Some((video, unfinished)) => drop(plan.left.insert(video, unfinished.name)),
                None => {
                    let video = VideoId::for_name(&name, &nuid::next());
                    let Wanted { every, fps, start, end, window, alarms } = wanted.clone();
                    let upload = Upload {
                        id: Some(video.clone()),
                        name: Some(name),
                        selection: RequestedSelection { every, fps, start, end },
                        window,
                        alarms,
                        ..Upload::of(uri)
                    };
                    plan.uploads.push((video, upload));
                }
            }
        }
        plan.left.extend(left.into_iter().map(|(video, unfinished)| (video, unfinished.name)));
        Ok(plan)
    }

    /// Identity and name of each.
    pub fn videos(&self) -> Vec<(VideoId, String)> {
        let new = self.uploads.iter().map(|(video, upload)| (video.clone(), upload.name()));
        self.left.iter().map(|(video, name)| (video.clone(), name.clone())).chain(new).collect()
    }

    /// Where the videos are: this command may read them, whatever else it may.
    pub fn uris(&self) -> &[String] {
        &self.uris
    }

    /// Queues what is not queued yet.
    pub async fn submit(&self, streams: &Streams) -> anyhow::Result<()> {
        for (video, upload) in &self.uploads {
            let id = format!("upload/{video}");
            streams
                .publisher
                .publish(subjects::UPLOAD_SUBJECT, &id, to_json(upload).into())
                .await?;
        }
        Ok(())
    }
}

/// A video that was begun and not finished.
struct Unfinished {
    uri: String,
    name: String,
    wanted: Wanted,
}

impl Unfinished {
    fn of(started: Started) -> Self {
        let Started { uri, name, selection, alarms, .. } = started;
        let FrameSelection { every, fps, start, end } = selection;
        Self {
            uri,
            name,
            wanted: Wanted { every: Some(every), fps, start, end, window: None, alarms },
        }
    }
}

/// The videos whose upload, log or entry is kept, and that are not finished.
async fn unfinished(streams: &Streams) -> anyhow::Result<BTreeMap<VideoId, Unfinished>> {
    let mut found = BTreeMap::new();
    for sequence in stored(&streams.uploads).await? {
        let message = streams.uploads.get_raw_message(sequence).await?;
        match Upload::parse(&message.payload) {
            Ok(upload) => {
                let video = upload.video(message.sequence, message.time.into());
                let (uri, name) = (upload.uri.to_string(), upload.name());
                let Upload { selection, window, alarms, .. } = upload;
                let RequestedSelection { every, fps, start, end } = selection;
                found.insert(
                    video,
                    Unfinished {
                        uri,
                        name,
                        wanted: Wanted { every, fps, start, end, window, alarms },
                    },
                );
            }
            Err(error) => warn!(%error, "the queue holds a message that is no upload"),
        }
    }
    let mut logs = streams.results.info_with_subjects("results.*").await?;
    while let Some((subject, _)) = logs.try_next().await? {
        let Some(video) = VideoId::of_subject(&subject) else { continue };
        if let Some(started) = started(streams, &video, &subject).await? {
            found.entry(video).or_insert(Unfinished::of(started));
        }
    }
    // What began a video may have left the log to make room.
    let mut keys = streams.videos.keys().await?;
    while let Some(key) = keys.try_next().await? {
        let Ok(video) = VideoId::try_from(key) else { continue };
        if let Some(VideoEntry { started, summary_published: false, .. }) =
            entry(streams, &video).await?
        {
            found.entry(video).or_insert(Unfinished::of(started));
        }
    }
    let mut unfinished = BTreeMap::new();
    for (video, what) in found {
        if !has_summary(streams, &video).await? && !is_closed(streams, &video).await? {
            unfinished.insert(video, what);
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

/// How a video was begun: as its entry says, or its log, if no aggregator has seen that yet.
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

/// Summaries may be gone before the log is.
async fn is_closed(streams: &Streams, video: &VideoId) -> anyhow::Result<bool> {
    Ok(entry(streams, video).await?.is_some_and(|entry| entry.summary_published))
}

/// Sequence numbers of the messages that a stream holds.
async fn stored(stream: &async_nats::jetstream::stream::Stream) -> anyhow::Result<Vec<u64>> {
    let info = stream.info_builder().with_deleted(true).fetch().await?.info;
    let deleted = info.state.deleted.unwrap_or_default();
    let range = info.state.first_sequence..=info.state.last_sequence;
    Ok(if info.state.messages == 0 {
        vec![]
    } else {
        range.filter(|sequence| !deleted.contains(sequence)).collect()
    })
}

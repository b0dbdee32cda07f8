use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt, TryStreamExt};
use tracing::warn;

use super::{KnownVideo, VideoError, Videos};
use crate::messages::{
    AlarmRule, Fingerprint, ModelId, Offset, RequestedSelection, Started, Tracking, Upload,
    VideoEntry, VideoState,
};
use crate::{VideoId, direct, subjects};

/// A video that was uploaded and does not have a summary: what its upload asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct UnfinishedVideo {
    /// Where it comes from; without a password once an ingest has started it.
    pub uri: String,
    /// Its display name.
    pub name: String,
    /// Which frames it asks for; once an ingest has started it, complete.
    pub selection: RequestedSelection,
    /// Length of a live source's windows; `None` once an ingest has started it.
    pub window: Option<Offset>,
    /// The model that the upload asks for; once an ingest has started it, with its version.
    pub model: Option<ModelId>,
    /// Alarms that the upload asks for.
    pub alarms: Option<Vec<AlarmRule>>,
    /// Tracks, lines and zones that the upload asks for.
    pub tracking: Tracking,
    /// The local file that it is made of, if that is known.
    pub fingerprint: Option<Fingerprint>,
}

impl From<Started> for UnfinishedVideo {
    fn from(started: Started) -> Self {
        let Started { uri, name, selection, alarms, tracking, fingerprint, model, .. } = started;
        let every = Some(selection.every);
        let selection = RequestedSelection { every, ..selection.into() };
        let model = model.map(|used| used.name);
        Self { uri, name, selection, window: None, model, alarms, tracking, fingerprint }
    }
}

impl From<Upload> for UnfinishedVideo {
    fn from(upload: Upload) -> Self {
        let name = upload.name();
        let Upload { uri, selection, window, model, alarms, tracking, fingerprint, .. } = upload;
        let uri = uri.into();
        Self { uri, name, selection, window, model, alarms, tracking, fingerprint }
    }
}

impl Videos<'_> {
    /// The videos whose upload, log or entry is stored, and whose summary was never published.
    ///
    /// An upload in the queue comes first: it says most about what is asked for. The bytes of the
    /// log are not read, except of videos without an entry.
    pub async fn unfinished(self) -> Result<BTreeMap<VideoId, UnfinishedVideo>, VideoError> {
        let entries = self.entries_by_id().await?;
        let mut found = self.queued_uploads().await?;
        for video in self.subjects_of(&self.streams.results, subjects::ALL_RESULTS).await? {
            if found.contains_key(&video) {
                continue;
            }
            let started = match entries.get(&video) {
                Some(entry) if entry.state != VideoState::Queued => Some(entry.started.clone()),
                queued => match self.find_in_log(&video).await? {
                    Some(KnownVideo::Started(started) | KnownVideo::Queued(started)) => {
                        Some(started)
                    }
                    _ => queued.map(|entry| entry.started.clone()),
                },
            };
            found.extend(started.map(|started| (video, started.into())));
        }
        // The beginning of a log may have been removed to make space.
        for (video, entry) in &entries {
            if !found.contains_key(video) {
                found.insert(video.clone(), entry.started.clone().into());
            }
        }
        // Summaries may expire before the entry.
        let summaries = self.subjects_of(&self.streams.summaries, subjects::ALL_SUMMARIES).await?;
        found.retain(|video, _| {
            let published = entries.get(video).is_some_and(|entry| entry.summary_published);
            !published && !summaries.contains(video)
        });
        Ok(found)
    }

    async fn entries_by_id(self) -> Result<BTreeMap<VideoId, VideoEntry>, VideoError> {
        let (mut entries, mut by_id) = (Box::pin(self.entries()), BTreeMap::new());
        while let Some(entry) = entries.next().await {
            match entry {
                Ok(stored) => drop(by_id.insert(stored.entry.video.clone(), stored.entry)),
                Err(error @ VideoError::Malformed { .. }) => warn!(%error, "ignoring an entry"),
                Err(error) => return Err(error),
            }
        }
        Ok(by_id)
    }

    /// The uploads in the queue by their videos: those that wait for an ingest, and those that have
    /// one.
    pub async fn queued_uploads(self) -> Result<BTreeMap<VideoId, UnfinishedVideo>, VideoError> {
        let client = self.streams.jetstream.client();
        let messages = direct::messages(
            client,
            &self.streams.api,
            &self.streams.uploads,
            subjects::UPLOAD_SUBJECT,
            1,
        );
        let (mut messages, mut uploads) = (Box::pin(messages), BTreeMap::new());
        while let Some(message) = messages.next().await {
            let message = message.map_err(|source| VideoError::unavailable("videos", source))?;
            match Upload::parse(&message.payload) {
                Ok(upload) => {
                    let video = upload.video(message.sequence, message.time.into());
                    let analyses = upload.analyses(&video);
                    uploads.extend(analyses.into_iter().map(|(id, upload)| (id, upload.into())));
                }
                Err(error) => warn!(%error, "ignoring a malformed upload in the queue"),
            }
        }
        Ok(uploads)
    }

    /// The videos that a stream has messages of.
    pub(super) async fn subjects_of(
        self,
        stream: &async_nats::jetstream::stream::Stream,
        filter: &str,
    ) -> Result<BTreeSet<VideoId>, VideoError> {
        let listed = async {
            let subjects = stream.info_with_subjects(filter).await?;
            let subjects: Vec<_> = subjects.try_collect().await?;
            Ok::<_, async_nats::Error>(subjects)
        };
        let subjects = listed.await.map_err(|source| VideoError::unavailable("videos", source))?;
        Ok(subjects.iter().filter_map(|(subject, _)| VideoId::of_subject(subject)).collect())
    }
}

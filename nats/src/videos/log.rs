//! The log of a video, to count it again, and what else tells whether something of it is missing.

use std::collections::BTreeSet;
use std::time::SystemTime;

use async_nats::jetstream::kv::{self, Operation};
use futures_util::{Stream, StreamExt, TryStreamExt};
use serde::Deserialize;

use super::{VideoError, Videos};
use crate::messages::{VERSION, VideoEvent, from_cbor};
use crate::{VideoId, direct, subjects};

/// An event of a video, and when the server stored it.
#[derive(Clone, Debug, PartialEq)]
pub struct LoggedEvent {
    /// What happened.
    pub event: VideoEvent,
    /// When the server stored it.
    pub stored_at: SystemTime,
}

impl Videos<'_> {
    /// Everything that is stored now of what happened to a video, in that order.
    pub fn logged_events(
        self,
        video: &VideoId,
    ) -> impl Stream<Item = Result<LoggedEvent, VideoError>> + Send + use<> {
        let client = self.streams.jetstream.client();
        let (subject, video) = (subjects::log_of(video), video.clone());
        let log = &self.streams.results;
        let messages = direct::messages(client, &self.streams.api, log, &subject, 1);
        messages.filter_map(move |message| {
            let event = match message {
                // Aggregators drop malformed messages too.
                Ok(message) => from_cbor::<VideoEvent>(&message.payload)
                    .ok()
                    .filter(|of| of.video == video)
                    .filter(|of| subjects::is_of_event(&message.subject, &video, &of.event))
                    .map(|event| Ok(LoggedEvent { event, stored_at: message.time.into() })),
                Err(error) => Some(Err(VideoError::unavailable(video.as_str(), error))),
            };
            std::future::ready(event)
        })
    }

    /// The videos that have results or events.
    pub async fn logged(self) -> Result<BTreeSet<VideoId>, VideoError> {
        let mut videos = self.subjects_of(&self.streams.results, subjects::ALL_RESULTS).await?;
        videos.extend(self.subjects_of(&self.streams.results, subjects::ALL_DETECTIONS).await?);
        Ok(videos)
    }

    /// The videos that have a summary.
    pub async fn summarised(self) -> Result<BTreeSet<VideoId>, VideoError> {
        self.subjects_of(&self.streams.summaries, subjects::ALL_SUMMARIES).await
    }

    /// How many frames of a video are in the queue, those that a detector has included.
    pub async fn queued_frames(self, video: &VideoId) -> Result<u64, VideoError> {
        let listed = async {
            let subjects = self.streams.frames.info_with_subjects(subjects::frames_of(video));
            let subjects: Vec<_> = subjects.await?.try_collect().await?;
            Ok::<_, async_nats::Error>(subjects)
        };
        let listed = listed.await.map_err(|e| VideoError::unavailable(video.as_str(), e))?;
        Ok(listed.iter().map(|(_, messages)| *messages as u64).sum())
    }

    /// The revision of an entry that is damaged: one that is neither an entry of this release nor of
    /// another one.
    pub async fn damaged_revision(self, video: &VideoId) -> Result<Option<u64>, VideoError> {
        #[derive(Deserialize)]
        struct OtherRelease {
            version: u8,
        }
        let found = self.streams.videos.entry(video.as_str()).await;
        let found = found.map_err(|source| VideoError::unavailable(video.as_str(), source))?;
        let is_damaged = |found: &kv::Entry| {
            let of = serde_json::from_slice::<OtherRelease>(&found.value);
            found.operation == Operation::Put && of.map_or(true, |of| of.version == VERSION)
        };
        Ok(found.filter(is_damaged).map(|found| found.revision))
    }

    /// The last revision of the bucket.
    pub async fn last_revision(self) -> Result<u64, VideoError> {
        let info = self.streams.videos.stream.get_info().await;
        let info = info.map_err(|source| VideoError::unavailable("videos", source))?;
        Ok(info.state.last_sequence)
    }
}

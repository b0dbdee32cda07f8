use thiserror::Error;
use url::Url;

use super::{KnownVideo, VideoError, Videos};
use crate::messages::{ModelId, UnknownClass, Upload, VideoEntry, to_json};
use crate::objects::{self, ObjectError};
use crate::publish::StoreError;
use crate::{ModelsError, VideoId, subjects};

/// Why a video is not analysed again.
#[derive(Debug, Error)]
pub enum RerunError {
    /// Nothing is stored of it.
    #[error("video {0} does not exist")]
    Unknown(VideoId),
    /// Its frames cannot be had again.
    #[error("{0} is a live source, which cannot be decoded again")]
    Live(VideoId),
    /// Its address needs a password, which is not stored.
    #[error("the address of {0} has a password, which is not stored: upload it again")]
    Password(VideoId),
    /// Its address is not a URI any more.
    #[error("{0} has no address that can be read again: upload it again")]
    NoAddress(VideoId),
    /// Its bytes are deleted.
    #[error(transparent)]
    Object(#[from] ObjectError),
    /// There is no such model.
    #[error(transparent)]
    Model(#[from] ModelsError),
    /// Its lines, zones or rules are about a class that the model does not have.
    #[error("the video's {} {}", .0.field(), .0)]
    Class(#[from] UnknownClass),
    /// It cannot be read.
    #[error(transparent)]
    Read(#[from] VideoError),
    /// It cannot be queued.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Videos<'_> {
    /// The video that has the analysis of this video by a model: itself, or one that
    /// [`rerun`](Self::rerun) made. `None` if there is none.
    pub async fn analysis(
        self,
        video: &VideoId,
        model: &ModelId,
    ) -> Result<Option<VideoEntry>, RerunError> {
        let model = self.version_of(model).await?;
        match self.entry(video).await? {
            Some(entry) if entry.started.model() == model => Ok(Some(entry)),
            _ => Ok(self.entry(&video.by_model(&model)).await?),
        }
    }

    /// The version that a model has. One that is removed may have analysed videos.
    pub(super) async fn version_of(self, model: &ModelId) -> Result<ModelId, ModelsError> {
        match self.streams.models.find(model).await {
            Ok(found) => Ok(found.model),
            Err(ModelsError::Unknown { .. }) if model.version().is_some() => Ok(model.clone()),
            Err(error) => Err(error),
        }
    }

    /// Queues a video again, to be analysed by another model as it was before: the same frames,
    /// labels, lines, zones and alarms. Returns the video of that analysis, which
    /// [`VideoId::by_model`] names; one that exists already stays as it is.
    pub async fn rerun(self, video: &VideoId, model: &ModelId) -> Result<VideoId, RerunError> {
        let (started, is_live) = match self.find(video).await? {
            Some(KnownVideo::Entry(entry)) => (entry.started, entry.live.is_some()),
            Some(KnownVideo::Queued(started) | KnownVideo::Started(started)) => (started, false),
            None => return Err(RerunError::Unknown(video.clone())),
        };
        if is_live || video.is_window() {
            return Err(RerunError::Live(video.clone()));
        }
        let model = self.streams.models.find(model).await?.model;
        if started.model.as_ref().is_some_and(|used| used.name == model) {
            return Ok(video.clone());
        }
        let id = video.by_model(&model);
        if self.find(&id).await?.is_some() {
            return Ok(id);
        }
        if let Some(known) = self.streams.models.labels(std::slice::from_ref(&model)).await? {
            let alarms = started.alarms.as_deref().unwrap_or_default();
            started.tracking.check_classes(alarms, &known)?;
        }
        let uri: Url = started.uri.parse().map_err(|_| RerunError::NoAddress(video.clone()))?;
        let again = Upload::again(&id, &started);
        let again = again.ok_or_else(|| RerunError::Password(video.clone()))?;
        if uri.scheme() == objects::SCHEME {
            let found = self.streams.objects.info(&uri).await;
            found.map_err(|error| error.named(&started.name))?;
        }
        let upload = Upload { model: Some(model), ..again };
        let message_id = format!("upload/{id}");
        let payload = to_json(&upload).into();
        self.streams.publisher.publish(subjects::UPLOAD_SUBJECT, &message_id, payload).await?;
        Ok(id)
    }
}

//! An upload that names several models: analyses side by side, each a video of its own.
//!
//! Each decodes the source itself. So none waits for the detectors of another model, and each
//! resumes and is cancelled like any video.

use std::time::SystemTime;

use futures_util::future::try_join_all;
use moliceiro_nats::VideoId;
use moliceiro_nats::messages::{ModelId, Upload};

use super::{Disposition, RetryReason, UploadJob};

impl UploadJob {
    pub(super) async fn ingest_side_by_side(
        &self,
        video: VideoId,
        upload: Upload,
        stored_at: SystemTime,
    ) -> Result<Disposition, RetryReason> {
        let models = self.versions_of(&upload.models).await?;
        if models != upload.models {
            // Every delivery has to name the same analyses, whatever the latest version is then.
            return Ok(Disposition::Replace(video, Upload { models, ..upload }));
        }
        // Lines, zones and rules are for all: each class has to be known to one of the models.
        let classes = match self.context.streams.models.labels(&models).await {
            Err(error) if error.is_transient() => return Err(error.into()),
            classes => classes.ok().flatten(),
        };
        let analyses = upload.clone().analyses(&video);
        let ingesting = analyses
            .iter()
            .map(|(id, of)| self.ingest_video(id, of.clone(), stored_at, classes.as_deref()));
        let mut requeued = None;
        for disposition in try_join_all(ingesting).await? {
            match disposition {
                Disposition::Requeue(_, of) => requeued = Some(of.selection),
                Disposition::Cancelled(id) => self.discard_frames(&id).await,
                Disposition::Retry(reason) => return Err(reason),
                Disposition::Ack | Disposition::Drop | Disposition::Replace(..) => {}
            }
        }
        Ok(match requeued {
            Some(selection) => Disposition::Requeue(video, Upload { selection, ..upload }),
            None => Disposition::Ack,
        })
    }

    /// The versions of these models, each once. What does not exist keeps its name: its analysis
    /// says so.
    async fn versions_of(&self, models: &[ModelId]) -> Result<Vec<ModelId>, RetryReason> {
        let mut versions = Vec::with_capacity(models.len());
        for model in models {
            let version = match self.context.streams.models.find(model).await {
                Ok(found) => found.model,
                Err(error) if error.is_transient() => return Err(error.into()),
                Err(_) => model.clone(),
            };
            if !versions.contains(&version) {
                versions.push(version);
            }
        }
        Ok(versions)
    }
}

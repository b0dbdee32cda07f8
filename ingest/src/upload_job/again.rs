//! Frames of a video that were lost on the way: decodes its source again, and publishes only those.

use moliceiro_decode::DecodeError;
use moliceiro_nats::VideoId;
use moliceiro_nats::messages::{Event, FrameSelection, Lost, Repair, Started, Upload, VideoEntry};
use moliceiro_nats::subjects;

use super::{Disposition, RetryReason, Unreadable, UploadJob, requeued};
use crate::context::Context;
use crate::fingerprint::replaced;
use crate::publisher::FramePublisher;
use crate::source::{self, Source};

/// What a source had of the frames that were asked for.
enum Again {
    Published(u64),
    /// The source is missing, or another one by now.
    Unreadable(String),
}

impl UploadJob {
    /// `entry` is that of the video, all of whose frames were published.
    pub(super) async fn ingest_again(
        &self,
        video: &VideoId,
        upload: Upload,
        repair: &Repair,
        entry: &VideoEntry,
    ) -> Result<Disposition, RetryReason> {
        let Context { streams, metrics, .. } = &self.context;
        if entry.state.is_final() || repair.frames.is_empty() {
            metrics.upload_known(video);
            return Ok(Disposition::Ack);
        }
        let started = &entry.started;
        metrics.decoding(video, started, repair.first());
        let decoding = self.decode_again(video, &upload, repair, started);
        let decoded = tokio::select! {
            decoded = self.requeue.run_until_cancelled(decoding) => decoded.transpose()?,
            () = streams.videos().until_cancelled(video) => {
                return Ok(Disposition::Cancelled(video.clone()));
            }
        };
        match decoded {
            None => return Ok(requeued(video, upload, started.selection)),
            Some(Again::Published(frames)) => metrics.published_again(video, repair.round, frames),
            Some(Again::Unreadable(reason)) => {
                metrics.unreadable_again(video, repair.round, &reason);
                let id = format!("lost/{}", repair.token());
                let id = subjects::event_message_id(video, &id);
                let lost = Event::Lost(Lost { reason });
                streams.publisher.publish_event(video, Some(&id), lost).await?;
            }
        }
        Ok(Disposition::Ack)
    }

    async fn decode_again(
        &self,
        video: &VideoId,
        upload: &Upload,
        repair: &Repair,
        started: &Started,
    ) -> Result<Again, RetryReason> {
        let Context { streams, service, metrics, allowed, .. } = &self.context;
        let unreadable = |reason: Unreadable| Ok(Again::Unreadable(reason.to_string()));
        let uri = match allowed.check(&upload.uri).await {
            Ok(uri) => uri,
            Err(refused) if !self.is_last_delivery() => return Err(refused.into()),
            Err(refused) => return unreadable(Unreadable::Refused(refused)),
        };
        if let Some(replaced) = replaced(started.fingerprint.as_ref(), &uri) {
            return unreadable(Unreadable::Replaced(replaced));
        }
        let model = match streams.models.find(&started.model()).await {
            Ok(model) => model,
            Err(error) if error.is_transient() => return Err(error.into()),
            Err(error) => return unreadable(Unreadable::Model(error)),
        };
        streams.detectors(&model.model).await?;
        // What was lost is analysed itself, although other frames may carry objects.
        let selection = FrameSelection { skip_still: false, ..started.selection };
        let settings = self.decode_settings(&model, selection, repair.first());
        let decoding = match source::open(&self.context, &uri, &started.name, settings).await {
            Ok(Source::Video(decoding)) => decoding,
            Ok(Source::Live(_)) => {
                return Ok(Again::Unreadable(
                    "the source is live, and cannot be decoded again".into(),
                ));
            }
            Err(error) if error.is_permanent() => return unreadable(Unreadable::Source(error)),
            Err(error) => return Err(error.into()),
        };
        let model = &model.model;
        let window = service.section.publish_window;
        let publisher = FramePublisher::new(streams, metrics, video, model, window);
        let publisher = FramePublisher { repair: Some(repair), ..publisher };
        let published = publisher.publish_again(repair, decoding.frames.clone()).await?;
        // The rest is not needed.
        if published > 0 {
            return Ok(Again::Published(published));
        }
        match decoding.outcome().await {
            Err(error) if !matches!(error, DecodeError::Cancelled) => {
                Ok(Again::Unreadable(error.to_string()))
            }
            _ => Ok(Again::Published(0)),
        }
    }
}

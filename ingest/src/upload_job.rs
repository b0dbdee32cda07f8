//! One upload, from its message to the acknowledgement.

mod again;
mod side_by_side;

use std::time::{Duration, Instant, SystemTime};

use async_nats::jetstream::{AckKind, Message};
use moliceiro_decode::live::LiveOrigin;
use moliceiro_decode::{DecodeSettings, Observer};
use moliceiro_nats::messages::{
    Event, FrameSelection, LiveStatus, ModelDescription, ModelId, Offset, Repair, Started,
    UnknownClass, Upload, VideoEntry, VideoState, to_json,
};
use moliceiro_nats::publish::StoreError;
use moliceiro_nats::{ModelsError, StreamsError, VideoId, subjects};
use thiserror::Error;
use tokio_util::sync::CancellationToken;
use tracing::warn;
use url::Url;

use crate::allow::Refused;
use crate::context::Context;
use crate::fetch;
use crate::fingerprint::{Replaced, fingerprint, replaced};
use crate::live::{self, LiveProblem, TakeOverError};
use crate::published::{Published, Watermark};
use crate::publisher::FramePublisher;
use crate::remote_name::remote_name;
use crate::source::{self, Source, SourceError};

const RETRY_DELAY: Duration = Duration::from_secs(1);
/// Aggregators know a video sooner.
const UNKNOWN_AFTER: Duration = Duration::from_secs(2);

/// One upload being ingested.
pub(crate) struct UploadJob {
    context: Context,
    message: Message,
    /// Cancelled when this ingest stops.
    requeue: CancellationToken,
}

/// What becomes of an upload's message.
enum Disposition {
    /// Every frame and the end are stored.
    Ack,
    /// It is not an upload.
    Drop,
    /// Its video was cancelled.
    Cancelled(VideoId),
    /// This ingest is stopping: another resumes the video, and it costs no delivery attempt.
    Requeue(VideoId, Upload),
    /// The same upload in other words takes its place.
    Replace(VideoId, Upload),
    /// Another delivery may succeed.
    Retry(RetryReason),
}

/// Why an upload is tried again later.
#[derive(Debug, Error)]
enum RetryReason {
    /// Another ingest may be allowed to read it.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// Another ingest may be able to open it, or this one later.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A frame or an event cannot be stored.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The windows of an earlier ingest cannot be ended.
    #[error(transparent)]
    TakeOver(#[from] TakeOverError),
    /// The models cannot be read.
    #[error(transparent)]
    Models(#[from] ModelsError),
    /// The queue of the model's frames cannot be used.
    #[error(transparent)]
    Streams(#[from] StreamsError),
}

/// What was decoded of a source.
enum Decoded {
    /// All of it is published.
    Video(Published),
    /// It is live, and has to be followed.
    Live(LiveOrigin, Box<DecodeSettings>),
}

/// Why a source is not decoded, now or ever.
enum Unreadable {
    Refused(Refused),
    Replaced(Replaced),
    Source(SourceError),
    Live(LiveProblem),
    /// There is no such model.
    Model(ModelsError),
    /// The upload names a class that the model does not have.
    Class(UnknownClass),
}

impl std::fmt::Display for Unreadable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Refused(reason) => reason.fmt(f),
            Self::Replaced(reason) => reason.fmt(f),
            Self::Source(reason) => reason.fmt(f),
            Self::Live(reason) => reason.fmt(f),
            Self::Model(reason) => reason.fmt(f),
            Self::Class(unknown) => write!(f, "the upload's {} {unknown}", unknown.field()),
        }
    }
}

impl UploadJob {
    pub(crate) fn new(context: Context, message: Message, requeue: CancellationToken) -> Self {
        Self { context, message, requeue }
    }

    pub(crate) async fn run(self) {
        let _in_flight = self.context.metrics.in_flight();
        let progress = async {
            let mut ticks = tokio::time::interval(self.context.service.streams.upload_ack_wait / 3);
            loop {
                ticks.tick().await;
                if let Err(error) = self.message.ack_with(AckKind::Progress).await {
                    warn!(%error, "cannot report to the server that an upload is in progress");
                }
            }
        };
        let disposition = tokio::select! {
            disposition = self.ingest() => disposition,
            () = progress => unreachable!("progress is reported until the job ends"),
        };
        let metrics = &self.context.metrics;
        let done = match disposition {
            Disposition::Ack => self.message.double_ack().await,
            Disposition::Drop => self.message.ack_with(AckKind::Term).await,
            Disposition::Cancelled(video) => self.discard(&video).await,
            Disposition::Requeue(video, upload) => {
                metrics.upload_requeued(&video);
                self.requeue(video, upload).await
            }
            Disposition::Replace(video, upload) => self.requeue(video, upload).await,
            Disposition::Retry(reason) => {
                metrics.upload_retried(self.video().as_ref(), &reason.to_string());
                self.message.ack_with(AckKind::Nak(Some(RETRY_DELAY))).await
            }
        };
        if let Err(error) = done {
            metrics.upload_not_acknowledged(self.video().as_ref(), &error);
        }
    }

    /// The video of the message, if that is an upload.
    fn video(&self) -> Option<VideoId> {
        let (sequence, stored_at) = self.stored();
        Upload::parse(&self.message.payload).ok().map(|upload| upload.video(sequence, stored_at))
    }

    async fn ingest(&self) -> Disposition {
        let upload = match Upload::parse(&self.message.payload) {
            Ok(upload) => upload,
            Err(reason) => {
                self.context.metrics.upload_malformed(&reason);
                return Disposition::Drop;
            }
        };
        let (sequence, stored_at) = self.stored();
        let video = upload.video(sequence, stored_at);
        let ingested = if upload.models.is_empty() {
            self.ingest_video(&video, upload, stored_at, None).await
        } else {
            Box::pin(self.ingest_side_by_side(video, upload, stored_at)).await
        };
        ingested.unwrap_or_else(Disposition::Retry)
    }

    /// `classes` are those of all models that analyse it side by side, if there are several.
    async fn ingest_video(
        &self,
        video: &VideoId,
        upload: Upload,
        stored_at: SystemTime,
        classes: Option<&[String]>,
    ) -> Result<Disposition, RetryReason> {
        let Context { streams, allowed, metrics, .. } = &self.context;
        let entry = self.entry(video).await;
        if entry.as_ref().is_some_and(VideoEntry::is_cancelled) {
            live::take_over(streams, video, entry.as_ref()).await?;
            return Ok(Disposition::Cancelled(video.clone()));
        }
        if let Some(entry) = entry.as_ref().filter(|entry| entry.ended.is_some())
            && let Some(repair) = upload.repair.clone()
        {
            return Box::pin(self.ingest_again(video, upload, &repair, entry)).await;
        }
        if entry.as_ref().is_some_and(|entry| entry.ended.is_some()) {
            metrics.upload_known(video);
            return Ok(Disposition::Ack);
        }
        let uri = match allowed.check(&upload.uri).await {
            Err(refused) if !self.is_last_delivery() => return Err(refused.into()),
            checked => checked,
        };
        let live_status = live::take_over(streams, video, entry.as_ref()).await?;
        let stored = entry.as_ref().map_or(Watermark::default(), Watermark::of);
        // A resumed video keeps the options it started with, whatever the settings here are.
        let earlier = match entry {
            Some(entry) if entry.state != VideoState::Queued => Some(entry.started),
            _ => self.started(video).await,
        };
        let (mut started, wanted) = match earlier {
            Some(started) => {
                let model = started.model();
                (started, model)
            }
            None => {
                let default = &self.context.service.section.model;
                let model = upload.model.clone().unwrap_or_else(|| default.clone());
                (self.first_started(&upload, uri.as_ref().ok(), stored_at).await, model)
            }
        };
        let model = match streams.models.find(&wanted).await {
            Err(error) if error.is_transient() => return Err(error.into()),
            found => found,
        };
        let mut unknown = None;
        if let Ok(model) = &model {
            unknown = self.unknown_class(&started, &model.model, classes).await?;
            started.model = Some(model.used());
            // Detectors learn from it that the model is needed.
            streams.detectors(&model.model).await?;
        }
        // A video keeps the version that it started with.
        let upload = Upload {
            model: Some(started.model.as_ref().map_or(wanted, |m| m.name.clone())),
            ..upload
        };
        let uri = uri.map_err(Unreadable::Refused).and_then(|uri| {
            match replaced(started.fingerprint.as_ref(), &uri) {
                Some(replaced) => Err(Unreadable::Replaced(replaced)),
                None => Ok(uri),
            }
        });
        let source = uri.and_then(|uri| match unknown {
            Some(unknown) => Err(Unreadable::Class(unknown)),
            None => Ok((uri, model.map_err(Unreadable::Model)?)),
        });
        metrics.decoding(video, &started, stored.below);
        let selection = started.selection;
        let id = match &upload.repair {
            Some(repair) => format!("started/{}", repair.token()),
            None => "started".to_owned(),
        };
        let id = subjects::event_message_id(video, &id);
        streams.publisher.publish_event(video, Some(&id), Event::Started(started.clone())).await?;
        let began = Instant::now();
        let repair = upload.repair.as_ref();
        let decoding = self.decode(video, source, &started, stored, repair);
        let decoded = tokio::select! {
            decoded = self.requeue.run_until_cancelled(decoding) => decoded.transpose()?,
            () = streams.videos().until_cancelled(video) => {
                return Ok(Disposition::Cancelled(video.clone()));
            }
        };
        match decoded {
            Some(Decoded::Live(origin, settings)) => {
                self.follow(video, upload, &started, (origin, *settings), live_status).await
            }
            Some(Decoded::Video(published)) => {
                metrics.all_published(video, &published);
                if began.elapsed() >= UNKNOWN_AFTER && self.entry(video).await.is_none() {
                    // Its first event was lost: nobody else knows how it started.
                    let id = subjects::event_message_id(video, "started/again");
                    let event = Event::Started(started.clone());
                    streams.publisher.publish_event(video, Some(&id), event).await?;
                }
                Ok(Disposition::Ack)
            }
            None => Ok(requeued(video, upload, selection)),
        }
    }

    /// A class that the upload names and that its model does not have. Of a model whose classes
    /// nothing says, every class is accepted.
    async fn unknown_class(
        &self,
        started: &Started,
        model: &ModelId,
        classes: Option<&[String]>,
    ) -> Result<Option<UnknownClass>, ModelsError> {
        let rules = started.alarms.as_deref().unwrap_or_default();
        let check = |known: &[String]| started.tracking.check_classes(rules, known).err();
        if let Some(known) = classes {
            return Ok(check(known));
        }
        match self.context.streams.models.labels(std::slice::from_ref(model)).await {
            Ok(known) => Ok(known.as_deref().and_then(check)),
            Err(error) if error.is_transient() => Err(error),
            // It was removed just now.
            Err(_) => Ok(None),
        }
    }

    /// How the video starts. If neither its upload nor its address has a name, the web server may.
    async fn first_started(
        &self,
        upload: &Upload,
        uri: Option<&Url>,
        stored_at: SystemTime,
    ) -> Started {
        let Context { allowed, service, .. } = &self.context;
        let mut started = upload.started(stored_at, service.section.every);
        let requested = upload.selection;
        let selection = &mut started.selection;
        selection.skip_still = requested.skip_still.unwrap_or(service.section.skip_still);
        selection.key_frames = requested.key_frames.unwrap_or(service.section.key_frames);
        let unnamed = uri.filter(|uri| upload.name.is_none() && fetch::is_http(uri));
        let name = match unnamed {
            Some(uri) => remote_name(uri, allowed).await,
            None => None,
        };
        let fingerprint = started.fingerprint.or_else(|| fingerprint(uri?));
        Started { name: name.unwrap_or(started.name), fingerprint, ..started }
    }

    /// Follows a live source to its end, or until it is cancelled or this ingest stops.
    async fn follow(
        &self,
        video: &VideoId,
        upload: Upload,
        started: &Started,
        (origin, settings): (LiveOrigin, DecodeSettings),
        status: LiveStatus,
    ) -> Result<Disposition, RetryReason> {
        let Context { streams, service, metrics, .. } = &self.context;
        let (ingest, selection) = (&service.section, started.selection);
        let source = live::LiveSource {
            streams,
            metrics,
            video,
            started,
            settings,
            window: upload.window.map_or(ingest.window, Offset::duration),
            publish_window: ingest.publish_window,
        };
        let stop = self.requeue.child_token();
        let cancelled = async {
            streams.videos().until_cancelled(video).await;
            stop.cancel();
            std::future::pending::<()>().await;
        };
        let followed = tokio::select! {
            followed = live::follow(&source, origin, status, &stop) => followed?,
            () = cancelled => unreachable!("it never completes"),
        };
        match followed {
            Some(published) => {
                metrics.all_published(video, &published);
                Ok(Disposition::Ack)
            }
            None if self.requeue.is_cancelled() => Ok(requeued(video, upload, selection)),
            None => Ok(Disposition::Cancelled(video.clone())),
        }
    }

    /// Stores the frames and the end of the video.
    async fn decode(
        &self,
        video: &VideoId,
        source: Result<(Url, ModelDescription), Unreadable>,
        started: &Started,
        stored: Watermark,
        repair: Option<&Repair>,
    ) -> Result<Decoded, RetryReason> {
        let Context { streams, service, metrics, .. } = &self.context;
        let window = service.section.publish_window;
        let model = &started.model();
        // What was lost is analysed itself, although other frames may carry objects.
        let skip_still = started.selection.skip_still && repair.is_none();
        let selection = FrameSelection { skip_still, ..started.selection };
        let publisher = FramePublisher::new(streams, metrics, video, model, window);
        let publisher = FramePublisher { skip_still, repair, ..publisher };
        let mut live_settings = None;
        let opened = match source {
            Ok((uri, model)) => {
                let settings = self.decode_settings(&model, selection, stored.below);
                live_settings = Some(DecodeSettings { skip_before: 0, ..settings.clone() });
                let opened = source::open(&self.context, &uri, &started.name, settings).await;
                opened.map_err(Unreadable::Source)
            }
            Err(unreadable) => Err(unreadable),
        };
        let unreadable = match opened {
            Ok(Source::Video(decoding)) => {
                return Ok(Decoded::Video(publisher.publish_video(decoding, stored).await?));
            }
            Ok(Source::Live(origin)) => match (live::check(video, selection), live_settings) {
                (Ok(()), Some(settings)) => {
                    return Ok(Decoded::Live(origin, Box::new(settings)));
                }
                (Ok(()), None) => unreachable!("what is opened has settings"),
                (Err(problem), _) => Unreadable::Live(problem),
            },
            Err(Unreadable::Source(error)) if !error.is_permanent() => return Err(error.into()),
            Err(unreadable) => unreadable,
        };
        Ok(Decoded::Video(publisher.publish_failure(stored, unreadable.to_string()).await?))
    }

    fn decode_settings(
        &self,
        model: &ModelDescription,
        selection: FrameSelection,
        skip_before: u64,
    ) -> DecodeSettings {
        let Context { service, metrics, .. } = &self.context;
        if let Err(size) = service.section.picture_size(model) {
            warn!(
                model = %model.model, ?size, takes = ?model.size,
                "the model does not take the size of ingest.width and ingest.height: using its own"
            );
        }
        if let Err(fit) = service.section.picture_fit(model) {
            warn!(
                model = %model.model, ?fit, takes = ?model.fit,
                "the model does not take pictures of ingest.fit: using its own way"
            );
        }
        let metrics = metrics.clone();
        let observer = Observer::new(move |event| metrics.decode_event(event));
        DecodeSettings { observer, ..service.section.decoding(model, selection, skip_before) }
    }

    /// Before the last delivery, an upload that may not be read here is left to other ingests,
    /// which may be allowed to read it.
    fn is_last_delivery(&self) -> bool {
        let max_deliver = self.context.streams.ingest.cached_info().config.max_deliver;
        self.message.info().is_ok_and(|info| max_deliver > 0 && info.delivered >= max_deliver)
    }

    /// Sequence and time of the upload in its stream: the same for each of its deliveries.
    fn stored(&self) -> (u64, SystemTime) {
        match self.message.info() {
            Ok(info) => (info.stream_sequence, info.published.into()),
            Err(error) => {
                warn!(%error, "an upload's message does not say where it is stored");
                (0, SystemTime::now())
            }
        }
    }

    /// The video's entry. Without it, the video is decoded from its start, which is safe.
    async fn entry(&self, video: &VideoId) -> Option<VideoEntry> {
        self.context.streams.videos().entry(video).await.unwrap_or_else(|error| {
            warn!(%video, %error, "decoding from the start");
            None
        })
    }

    /// How the video started, if no aggregator has seen that yet.
    async fn started(&self, video: &VideoId) -> Option<Started> {
        self.context.streams.videos().started(video).await.unwrap_or_else(|error| {
            warn!(%video, %error, "starting it with the options of its upload");
            None
        })
    }

    /// Removes a cancelled video from the queues.
    async fn discard(&self, video: &VideoId) -> Result<(), async_nats::Error> {
        self.discard_frames(video).await;
        self.message.double_ack().await
    }

    /// The aggregator removed the frames of a cancelled video too, but more may have been published
    /// since.
    async fn discard_frames(&self, video: &VideoId) {
        self.context.metrics.upload_cancelled(video);
        let frames = subjects::frames_of(video);
        if let Err(error) = self.context.streams.frames.purge().filter(frames).await {
            warn!(%video, %error, "cannot remove the frames of a cancelled video");
        }
    }

    /// Queues the upload again, as the same video, before this delivery of it is acknowledged.
    async fn requeue(&self, video: VideoId, mut upload: Upload) -> Result<(), async_nats::Error> {
        let Context { streams, .. } = &self.context;
        let (sequence, _) = self.stored();
        let id = format!("{video}/handed-back/{sequence}");
        upload.id = Some(video);
        let payload = to_json(&upload).into();
        streams.publisher.publish(subjects::UPLOAD_SUBJECT, &id, payload).await?;
        self.message.double_ack().await
    }
}

/// Leaves the video to another ingest, which has to select the same frames.
fn requeued(video: &VideoId, mut upload: Upload, selection: FrameSelection) -> Disposition {
    upload.selection = selection.into();
    Disposition::Requeue(video.clone(), upload)
}

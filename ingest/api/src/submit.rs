//! Makes a video of stored bytes or of a URI, and queues it.

use std::time::SystemTime;

use axum::Json;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use moliceiro_nats::VideoId;
use moliceiro_nats::messages::{Event, ModelId, Upload, to_json};
use moliceiro_nats::objects::{self, CommittedBytes};
use moliceiro_nats::publish::StoreError;
use moliceiro_nats::subjects;
use serde::{Deserialize, Serialize};
use tracing::{info, warn};
use utoipa::ToSchema;

use crate::idempotency::{Key, RecordedUpload, SentUpload, digest};
use crate::models::{check_classes, version_of, versions_of};
use crate::options::UploadOptions;
use crate::problem::Problem;
use crate::state::{ApiState, SharedState, stored_in_time};
use crate::video::Links;

/// A video that is queued: it survives the failure of any service from now on.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Accepted {
    /// The video's id.
    pub(crate) id: VideoId,
    /// The video's name.
    pub(crate) name: String,
    /// Where to query the video.
    pub(crate) links: Links,
    /// With several models: the analysis of each, the first of which is this video.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub(crate) analyses: Vec<AcceptedAnalysis>,
}

/// A video's analysis by one of several models: a video of its own.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct AcceptedAnalysis {
    /// The model, with its version unless it is built in.
    model: ModelId,
    /// The video's id.
    id: VideoId,
    /// Where to query the video.
    links: Links,
}

impl IntoResponse for Accepted {
    fn into_response(self) -> Response {
        (StatusCode::ACCEPTED, location(&self.links.video), Json(self)).into_response()
    }
}

/// The `Location` header.
pub(crate) fn location(path: &str) -> [(HeaderName, HeaderValue); 1] {
    [(header::LOCATION, HeaderValue::from_str(path).unwrap_or(HeaderValue::from_static("/videos")))]
}

/// Queues a video whose bytes are in the object store.
pub(crate) async fn submit_bytes(
    state: &SharedState,
    name: String,
    options: UploadOptions,
    bytes: CommittedBytes,
    key: Option<Key>,
) -> Result<Accepted, Problem> {
    let replaces = match sent_before(state, key.as_ref()).await? {
        SentBefore::No => None,
        SentBefore::Deleted(deleted) if deleted.sent.digest == bytes.digest => Some(deleted),
        SentBefore::Yes(earlier) | SentBefore::Deleted(earlier) => {
            let digest = bytes.digest.clone();
            state.tasks.spawn(bytes.discard());
            return submit_again(state, earlier.sent, &digest).await;
        }
    };
    let video = VideoId::for_name(&name, &nuid::next());
    let uri = object_uri(&video).parse().map_err(Problem::unavailable)?;
    let upload = options.upload(video.clone(), name, uri).with_defaults(&state.defaults);
    if let Err(problem) = check_upload(state, &upload).await {
        state.tasks.spawn(bytes.discard());
        return Err(problem);
    }
    let (digest, size) = (bytes.digest.clone(), bytes.size());
    bytes.keep(video.as_str(), video.as_str()).await?;
    info!(%video, size, "upload stored");
    let sent = SentUpload { digest: digest.clone(), upload };
    match record(state, key, sent, replaces.as_ref()).await {
        Ok(Recorded::First(upload)) => queue(state, upload).await,
        Ok(Recorded::Repeated(earlier)) => {
            state.objects.remove(video.as_str()).await?;
            submit_again(state, earlier, &digest).await
        }
        Err(problem) => {
            let objects = state.objects.clone();
            state.tasks.spawn(async move {
                if let Err(error) = objects.remove(video.as_str()).await {
                    warn!(%video, %error, "cannot delete a rejected upload's bytes: they expire");
                }
            });
            Err(problem)
        }
    }
}

/// Queues a video that the client only names by its URI.
pub(crate) async fn submit_uri(
    state: &ApiState,
    upload: Upload,
    key: Option<Key>,
) -> Result<Accepted, Problem> {
    if let Err(refused) = state.uri_policy.permit(&upload.uri).await {
        return Err(Problem::new(StatusCode::FORBIDDEN, refused.to_string()));
    }
    if upload.uri.scheme() == objects::SCHEME {
        state.objects.info(&upload.uri).await?;
    }
    let digest = digest(&to_json(&upload));
    let replaces = match sent_before(state, key.as_ref()).await? {
        SentBefore::Deleted(deleted) if deleted.sent.digest == digest => Some(deleted),
        _ => None,
    };
    let video = VideoId::for_name(&upload.name(), &nuid::next());
    let model = version_of(state, upload.model.as_ref()).await?;
    let models = versions_of(state, &upload.models).await?;
    let upload = Upload { id: Some(video), model, models, ..upload }.with_defaults(&state.defaults);
    check_upload(state, &upload).await?;
    let sent = SentUpload { digest: digest.clone(), upload };
    match record(state, key, sent, replaces.as_ref()).await? {
        Recorded::First(upload) => queue(state, upload).await,
        Recorded::Repeated(earlier) => submit_again(state, earlier, &digest).await,
    }
}

/// As [`check_classes`], of an upload with its defaults.
async fn check_upload(state: &ApiState, upload: &Upload) -> Result<(), Problem> {
    let Upload { model, models, tracking, alarms, .. } = upload;
    check_classes(state, model.as_ref(), models, tracking, alarms.as_deref()).await
}

enum Recorded {
    /// No other upload has this key.
    First(Upload),
    /// The key was used before, for this upload.
    Repeated(SentUpload),
}

async fn record(
    state: &ApiState,
    key: Option<Key>,
    sent: SentUpload,
    replaces: Option<&RecordedUpload>,
) -> Result<Recorded, Problem> {
    let Some(key) = key else { return Ok(Recorded::First(sent.upload)) };
    Ok(match state.sent_keys.record(&key, &sent, replaces).await? {
        None => Recorded::First(sent.upload),
        Some(earlier) => Recorded::Repeated(earlier.sent),
    })
}

/// Whether a request had the same key.
enum SentBefore {
    No,
    Yes(RecordedUpload),
    /// Its video was deleted: the same content is a new video.
    Deleted(RecordedUpload),
}

async fn sent_before(state: &ApiState, key: Option<&Key>) -> Result<SentBefore, Problem> {
    let Some(key) = key else { return Ok(SentBefore::No) };
    let Some(earlier) = state.sent_keys.find(key).await? else { return Ok(SentBefore::No) };
    let is_deleted = match &earlier.sent.upload.id {
        Some(video) => state.streams.videos().was_forgotten(video).await?,
        None => false,
    };
    Ok(if is_deleted { SentBefore::Deleted(earlier) } else { SentBefore::Yes(earlier) })
}

/// Returns the video of an earlier request with the same key, if the content is the same.
async fn submit_again(
    state: &ApiState,
    earlier: SentUpload,
    digest: &str,
) -> Result<Accepted, Problem> {
    if earlier.digest != digest {
        return Err(Problem::unprocessable(
            "this Idempotency-Key was used for other content; choose a new key",
        ));
    }
    let upload = earlier.upload;
    let is_known = match &upload.id {
        Some(video) => state.streams.videos().entry(video).await?.is_some(),
        None => false,
    };
    // The ingest that received the first request may have died before it queued the upload.
    if is_known { accepted(&upload) } else { queue(state, upload).await }
}

/// Queues the upload. After this, the video is counted whichever service fails.
async fn queue(state: &ApiState, upload: Upload) -> Result<Accepted, Problem> {
    let accepted = accepted(&upload)?;
    let video = accepted.id.clone();
    let publisher = &state.streams.publisher;
    let publish = async {
        // Harmless if an ingest has started the video in between, or if it is published twice.
        let id = format!("upload/{video}");
        publisher.publish(subjects::UPLOAD_SUBJECT, &id, to_json(&upload).into()).await?;
        for (analysis, upload) in upload.analyses(&video) {
            let queued = Event::Queued(upload.started(SystemTime::now(), state.default_every));
            let id = subjects::event_message_id(&analysis, "queued");
            publisher.publish_event(&analysis, Some(&id), queued).await?;
        }
        Ok::<_, StoreError>(())
    };
    stored_in_time(publish).await?;
    Ok(accepted)
}

fn accepted(upload: &Upload) -> Result<Accepted, Problem> {
    let id = upload.id.clone().ok_or_else(|| Problem::unavailable("an upload without an id"))?;
    let analysis = |(id, upload): (VideoId, Upload)| {
        let model = upload.model.unwrap_or_default();
        AcceptedAnalysis { model, links: Links::of(&id), id }
    };
    let analyses = match upload.models.is_empty() {
        true => vec![],
        false => upload.clone().analyses(&id).into_iter().map(analysis).collect(),
    };
    Ok(Accepted { links: Links::of(&id), name: upload.name(), id, analyses })
}

fn object_uri(video: &VideoId) -> String {
    format!("{}://{}/{video}", objects::SCHEME, subjects::UPLOADS_BUCKET)
}

//! From bytes that are stored to a video that nothing can lose.

use std::time::SystemTime;

use moliceiro_nats::VideoId;
use moliceiro_nats::messages::{Event, Upload, to_json};
use moliceiro_nats::objects::{self, CommittedBytes};
use moliceiro_nats::publish::StoreError;
use moliceiro_nats::subjects;
use tracing::{info, warn};

use super::Api;
use super::keys::{Key, Record};
use super::problem::Problem;
use super::selection::Selection;
use super::upload::{Accepted, object_uri};
use super::videos::Links;

/// Makes a video of bytes that are stored.
pub(super) async fn stored(
    api: &Api,
    name: String,
    selection: Selection,
    stored: CommittedBytes,
    key: Option<Key>,
) -> Result<Accepted, Problem> {
    if let Some(key) = &key
        && let Some(record) = api.keys.find(key).await?
    {
        let digest = stored.digest.clone();
        api.tasks.spawn(stored.discard());
        return again(api, record, &digest).await;
    }
    let video = VideoId::for_name(&name, &nuid::next());
    let uri = object_uri(&video).parse().map_err(Problem::unavailable)?;
    let upload =
        selection.on(Upload { id: Some(video.clone()), name: Some(name), ..Upload::of(uri) });
    let (digest, size) = (stored.digest.clone(), stored.size());
    stored.keep(video.as_str(), video.as_str()).await?;
    info!(%video, size, "an upload is stored");
    match remember(api, key, Record { digest: digest.clone(), upload }).await {
        Ok(Remembered::Ours(upload)) => submit(api, upload).await,
        Ok(Remembered::Earlier(record)) => {
            api.objects.remove(video.as_str()).await?;
            again(api, record, &digest).await
        }
        Err(problem) => {
            let api = api.clone();
            api.tasks.clone().spawn(async move {
                if let Err(error) = api.objects.remove(video.as_str()).await {
                    warn!(%video, %error, "the bytes of an upload that was not taken stay until they are too old");
                }
            });
            Err(problem)
        }
    }
}

/// Makes a video of what is somewhere already.
pub(super) async fn described(
    api: &Api,
    upload: Upload,
    key: Option<Key>,
) -> Result<Accepted, Problem> {
    if let Err(refused) = api.means.allowed.check(&upload.uri).await {
        return Err(Problem::new(axum::http::StatusCode::FORBIDDEN, refused.to_string()));
    }
    if upload.uri.scheme() == objects::SCHEME {
        api.objects.info(&upload.uri).await?;
    }
    let digest = super::keys::digest(&to_json(&upload));
    let video = VideoId::for_name(&upload.name(), &nuid::next());
    match remember(
        api,
        key,
        Record { digest: digest.clone(), upload: Upload { id: Some(video), ..upload } },
    )
    .await?
    {
        Remembered::Ours(upload) => submit(api, upload).await,
        Remembered::Earlier(record) => again(api, record, &digest).await,
    }
}

enum Remembered {
    Ours(Upload),
    Earlier(Record),
}

/// Keeps the upload under its key, if it has one and no other upload had it before.
async fn remember(api: &Api, key: Option<Key>, record: Record) -> Result<Remembered, Problem> {
    let Some(key) = key else { return Ok(Remembered::Ours(record.upload)) };
    Ok(match api.keys.keep(&key, &record).await? {
        None => Remembered::Ours(record.upload),
        Some(earlier) => Remembered::Earlier(earlier),
    })
}

/// The video of an earlier request with the same key.
async fn again(
    api: &Api,
    Record { digest, upload }: Record,
    sent: &str,
) -> Result<Accepted, Problem> {
    if digest != sent {
        return Err(Problem::unprocessable(
            "another content was sent with this Idempotency-Key before; use a new key for it",
        ));
    }
    let known = match &upload.id {
        Some(video) => api.entry(video).await?.is_some(),
        None => false,
    };
    // Whoever took the first request may have died before the upload was queued.
    if known { accepted(&upload) } else { submit(api, upload).await }
}

/// Queues the upload. When this returns, it is stored, and whatever dies then, the video is
/// counted.
async fn submit(api: &Api, upload: Upload) -> Result<Accepted, Problem> {
    let accepted = accepted(&upload)?;
    let video = accepted.id.clone();
    let publisher = &api.means.streams.publisher;
    let submitting = async {
        // It changes nothing if an ingest was faster to start the video, or if it is told twice.
        let queued = Event::Queued(upload.started(SystemTime::now(), api.settings.every));
        let id = format!("upload/{video}");
        publisher.publish(subjects::UPLOAD_SUBJECT, &id, to_json(&upload).into()).await?;
        publisher
            .publish_event(&video, Some(&subjects::event_message_id(&video, "queued")), queued)
            .await?;
        Ok::<_, StoreError>(())
    };
    super::in_time(submitting).await?;
    Ok(accepted)
}

fn accepted(upload: &Upload) -> Result<Accepted, Problem> {
    let id = upload.id.clone().ok_or_else(|| Problem::unavailable("an upload without an id"))?;
    Ok(Accepted { links: Links::of(&id), name: upload.name(), id })
}

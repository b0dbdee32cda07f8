//! Taking videos: their bytes into the object store, or where they are.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use moliceiro_nats::VideoId;
use moliceiro_nats::messages::{MalformedUpload, Upload};
use moliceiro_nats::objects::{self, CommittedBytes, ObjectWriter};
use multer::Multipart;
use serde::{Deserialize, Serialize};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::{IntoParams, PartialSchema, ToSchema};

use super::incoming::Incoming;
use super::keys::Key;
use super::problem::Problem;
use super::selection::Selection;
use super::videos::Links;
use super::{Api, admit};

/// An upload's description is short.
const MAX_JSON: u64 = 64 * 1024;
/// Files in one form: all of them are kept before the first is queued.
const MAX_FILES: usize = 1000;
const UNNAMED: &str = "upload";

/// What the bytes that follow are.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct RawOptions {
    /// What people call the video: 1 to 255 bytes of text on one line. Left out, it is `upload`.
    name: Option<String>,
}

/// Files, under any field names.
pub(super) struct Form;

impl PartialSchema for Form {
    fn schema() -> RefOr<Schema> {
        let file = ObjectBuilder::new()
            .schema_type(Type::String)
            .content_media_type("application/octet-stream")
            .min_length(Some(1));
        let names =
            ObjectBuilder::new().schema_type(Type::String).pattern(Some("^[A-Za-z0-9_-]+$"));
        let form = ObjectBuilder::new()
            .additional_properties(Some(file))
            .property_names(Some(names.build()));
        form.min_properties(Some(1)).description(Some("Files, under any field names")).into()
    }
}

impl ToSchema for Form {}

/// A video that is somewhere already.
#[derive(Deserialize, ToSchema)]
#[expect(dead_code, reason = "it describes the JSON, which is read as the message that it becomes")]
pub(super) struct Described {
    /// Where it is, such as `file:///data/a.mp4`. The setting `ingest.allow` says what may be read.
    #[schema(format = "uri")]
    uri: String,
    /// What people call it: 1 to 255 bytes of text on one line. Left out, it is the last part of
    /// the URI.
    name: Option<String>,
    /// Look at each how many-th frame only. Left out, the setting `ingest.every` holds.
    #[schema(minimum = 1, maximum = 1_000_000)]
    every: Option<u64>,
    /// Look at about so many frames per second of the video only. Not together with `every`.
    #[schema(minimum = 0.001, maximum = 1000)]
    fps: Option<f64>,
    /// Look at no frame before this time of the video, in seconds. Text such as `1m30s` is
    /// understood too.
    #[schema(minimum = 0, maximum = 3_162_240_000_u64)]
    start: Option<f64>,
    /// Look at no frame at this time of the video or later, in seconds.
    #[schema(minimum = 0, maximum = 3_162_240_000_u64)]
    end: Option<f64>,
    /// Length of the windows that a live source is cut into, in seconds. Left out, the setting
    /// `ingest.window` holds.
    #[schema(minimum = 1, maximum = 86_400)]
    window: Option<f64>,
    /// Count only objects of these classes. Left out or empty: all.
    #[schema(required = false)]
    labels: Vec<String>,
    /// Alarms to raise, such as `person > 10` or `boat >= 1 for 3 frames`. Left out, as the
    /// aggregator is set; an empty list: none.
    alarms: Option<Vec<String>>,
}

/// A video that is queued. Nothing can lose it any more.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(super) struct Accepted {
    /// Its identity.
    pub(super) id: VideoId,
    /// What people call it.
    pub(super) name: String,
    /// Where to ask for it.
    pub(super) links: Links,
}

/// The videos of a form, in its order.
#[derive(Serialize, ToSchema)]
pub(super) struct AcceptedForm {
    videos: Vec<Accepted>,
}

impl IntoResponse for Accepted {
    fn into_response(self) -> Response {
        (StatusCode::ACCEPTED, location(&self.links.video), Json(self)).into_response()
    }
}

fn location(place: &str) -> [(header::HeaderName, HeaderValue); 1] {
    [(
        header::LOCATION,
        HeaderValue::from_str(place).unwrap_or(HeaderValue::from_static("/videos")),
    )]
}

/// Uploads files
///
/// Files in a form, such as `curl -F video=@a.mp4` sends it. All of them are stored before the
/// first is queued. With an `Idempotency-Key`, the same files sent again are the same videos.
#[utoipa::path(
    post, path = "/", tag = "uploads",
    params(Selection, super::keys::KeyHeader),
    request_body(content = Form, content_type = "multipart/form-data"),
    responses((status = 202, description = "Every file is stored and queued", body = AcceptedForm, headers(("location" = String, description = "The video; of several, the list of videos"))), super::Refusals)
)]
pub(super) async fn upload_form(
    State(api): State<Api>,
    selection: Result<Query<Selection>, QueryRejection>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let permit = admit(&api)?;
    let Query(selection) = selection?;
    let selection = selection.checked()?;
    let key = Key::of(&headers)?;
    let boundary = content_type(&headers).and_then(|text| multer::parse_boundary(text).ok());
    let Some(boundary) = boundary else {
        return Err(unsupported(
            "send a form with files (multipart/form-data); POST /videos takes a video's bytes alone",
        ));
    };
    let incoming =
        Incoming::new(&headers, body, api.settings.upload_max_bytes, api.settings.idle_timeout)?;
    // A client that goes away takes the handler with it, but not this, which clears up.
    let receiving = api.tasks.spawn({
        let api = api.clone();
        async move {
            let _permit = permit;
            receive_form(&api, incoming, boundary, selection, key).await
        }
    });
    let videos = receiving.await.map_err(Problem::unavailable)??;
    let place =
        if let [only] = &videos[..] { only.links.video.clone() } else { "/videos".to_owned() };
    Ok((StatusCode::ACCEPTED, location(&place), Json(AcceptedForm { videos })).into_response())
}

async fn receive_form(
    api: &Api,
    incoming: Incoming,
    boundary: String,
    selection: Selection,
    key: Option<Key>,
) -> Result<Vec<Accepted>, Problem> {
    let unparsed = Arc::new(AtomicUsize::new(0));
    let stream = incoming.into_stream(unparsed.clone());
    let mut files = Vec::new();
    let read = read_form(api, Multipart::new(stream, boundary), &unparsed, &mut files).await;
    if let Err(problem) = read {
        discard(api, files);
        return Err(problem);
    }
    let mut videos = Vec::with_capacity(files.len());
    let mut files = files.into_iter();
    while let Some((name, stored)) = files.next() {
        let key = key.as_ref().map(|key| key.part(videos.len()));
        match super::accept::stored(api, name, selection.clone(), stored, key).await {
            Ok(accepted) => videos.push(accepted),
            Err(problem) => {
                discard(api, files);
                return Err(problem);
            }
        }
    }
    Ok(videos)
}

fn discard(api: &Api, files: impl IntoIterator<Item = (String, CommittedBytes)>) {
    for (_, stored) in files {
        api.tasks.spawn(stored.discard());
    }
}

async fn read_form(
    api: &Api,
    mut form: Multipart<'_>,
    unparsed: &AtomicUsize,
    files: &mut Vec<(String, CommittedBytes)>,
) -> Result<(), Problem> {
    while let Some(mut field) = form.next_field().await.map_err(form_problem)? {
        unparsed.store(0, Ordering::Relaxed);
        // curl names no file where it sends one from a pipe.
        let name = file_name(field.file_name().or(field.name()).unwrap_or_default());
        if files.len() == MAX_FILES {
            return Err(Problem::unprocessable(format!("a form may have {MAX_FILES} files")));
        }
        let mut draft = api.objects.draft();
        let written = async {
            while let Some(bytes) = field.chunk().await.map_err(form_problem)? {
                unparsed.store(0, Ordering::Relaxed);
                draft.write(bytes).await?;
            }
            Ok(())
        };
        let written = written.await;
        let stored = finish(api, draft, written).await?;
        files.push((name, stored));
    }
    if files.is_empty() {
        Err(Problem::unprocessable("the form has no file; with curl: -F 'video=@FILE'"))
    } else {
        Ok(())
    }
}

/// All bytes are stored, or none stay.
async fn finish(
    api: &Api,
    draft: ObjectWriter,
    written: Result<(), Problem>,
) -> Result<CommittedBytes, Problem> {
    let written = written.and_then(|()| match draft.size() {
        0 => Err(Problem::unprocessable("the video is empty: it has no bytes")),
        _ => Ok(()),
    });
    if let Err(problem) = written {
        api.tasks.spawn(draft.discard());
        return Err(problem);
    }
    draft.finish().await.map_err(|(draft, error)| {
        api.tasks.spawn(draft.discard());
        error.into()
    })
}

/// Uploads a video
///
/// The body is the video's bytes, or, as `application/json`, where the video is. With an
/// `Idempotency-Key`, the same content sent again is the same video.
#[utoipa::path(
    post, path = "/videos", tag = "uploads",
    params(RawOptions, Selection, super::keys::KeyHeader),
    request_body(content(([u8] = "application/octet-stream"), (Described = "application/json"))),
    responses((status = 202, description = "The video is stored and queued", body = Accepted, headers(("location" = String, description = "The video"))), super::Refusals)
)]
pub(super) async fn upload_video(
    State(api): State<Api>,
    options: Result<Query<RawOptions>, QueryRejection>,
    selection: Result<Query<Selection>, QueryRejection>,
    headers: HeaderMap,
    body: Body,
) -> Result<Accepted, Problem> {
    let permit = admit(&api)?;
    let (Query(options), Query(selection)) = (options?, selection?);
    let selection = selection.checked()?;
    let key = Key::of(&headers)?;
    let idle = api.settings.idle_timeout;
    match content_type(&headers).map(essence) {
        Some("application/json") => {
            let incoming =
                Incoming::new(&headers, body, MAX_JSON.min(api.settings.upload_max_bytes), idle)?;
            super::accept::described(&api, upload_of(&incoming.all().await?)?, key).await
        }
        Some("multipart/form-data") => {
            Err(unsupported("POST / takes forms; this takes a video's bytes, or JSON"))
        }
        _ => {
            let name = options.name.map_or_else(|| Ok(UNNAMED.to_owned()), checked_name)?;
            let incoming = Incoming::new(&headers, body, api.settings.upload_max_bytes, idle)?;
            let receiving = api.tasks.spawn({
                let api = api.clone();
                async move {
                    let _permit = permit;
                    let stored = receive_raw(&api, incoming).await?;
                    super::accept::stored(&api, name, selection, stored, key).await
                }
            });
            receiving.await.map_err(Problem::unavailable)?
        }
    }
}

async fn receive_raw(api: &Api, mut incoming: Incoming) -> Result<CommittedBytes, Problem> {
    let mut draft = api.objects.draft();
    let written = async {
        while let Some(bytes) = incoming.next().await? {
            draft.write(bytes).await?;
        }
        Ok(())
    };
    let written = written.await;
    finish(api, draft, written).await
}

fn upload_of(json: &[u8]) -> Result<Upload, Problem> {
    if json.trim_ascii_start().first() != Some(&b'{') {
        return Err(Problem::bad_request("the body is no JSON object with a \"uri\""));
    }
    let upload = Upload::parse(json).map_err(|error| match error {
        MalformedUpload::Json { reason, .. } if reason.is_data() => {
            Problem::unprocessable(format!("the JSON is no upload: {reason}"))
        }
        MalformedUpload::Field(invalid) => {
            Problem::unprocessable(format!("{} {invalid}", invalid.field()))
        }
        other => Problem::bad_request(other.to_string()),
    })?;
    Selection::of(&upload).checked()?;
    if upload.id.is_some() {
        return Err(Problem::unprocessable("id is chosen here; leave it out"));
    }
    Ok(upload)
}

fn content_type(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::CONTENT_TYPE)?.to_str().ok()
}

fn essence(content_type: &str) -> &str {
    content_type.split(';').next().unwrap_or_default().trim()
}

fn unsupported(detail: &str) -> Problem {
    Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail)
}

fn checked_name(name: String) -> Result<String, Problem> {
    match Upload::check_name(&name) {
        Err(invalid) => Err(Problem::unprocessable(format!("name {invalid}"))),
        Ok(()) => Ok(name),
    }
}

/// What a browser or curl calls a file: its last part, made fit to be a name.
fn file_name(name: &str) -> String {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let mut name: String = last.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    while Upload::check_name(&name).is_err() && !name.is_empty() {
        name.pop();
    }
    if name.trim().is_empty() { UNNAMED.to_owned() } else { name }
}

fn form_problem(error: multer::Error) -> Problem {
    match error {
        multer::Error::StreamReadFailed(source) => match source.downcast::<Problem>() {
            Ok(problem) => *problem,
            Err(other) => Problem::bad_request(format!("the form cannot be read: {other}")),
        },
        other => Problem::bad_request(format!("the form cannot be read: {other}")),
    }
}

/// The URI of the bytes that are kept for a video.
pub(super) fn object_uri(video: &VideoId) -> String {
    format!("{}://{}/{video}", objects::SCHEME, moliceiro_nats::subjects::UPLOADS_BUCKET)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_a_file_is_called_it_gets_a_name() {
        for (name, expected) in [
            ("a.mp4", "a.mp4"),
            ("C:\\videos\\a.mp4", "a.mp4"),
            ("../../etc/a.mp4", "a.mp4"),
            ("", "upload"),
            ("a\r\nb", "a  b"),
            ("x/", "upload"),
        ] {
            assert_eq!(file_name(name), expected, "{name:?}");
        }
        assert_eq!(file_name(&"ü".repeat(500)).len(), 254);
    }
}

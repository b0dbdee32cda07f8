//! `POST /videos`: one video, as its bytes or as JSON that says where it is.

use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, header};
use moliceiro_nats::messages::{MalformedUpload, RequestedSelection, Upload};
use moliceiro_nats::objects::{CommittedBytes, ObjectWriter};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use crate::body::LimitedBody;
use crate::idempotency::{Key, KeyHeader};
use crate::problem::Problem;
use crate::responses::UploadErrors;
use crate::state::{ApiState, SharedState};
use crate::submit::{Accepted, submit_bytes, submit_uri};
use crate::upload_options::{SelectionOptions, check_selection};

/// Far more than the longest valid description.
const MAX_JSON: u64 = 64 * 1024;
/// The name of a video whose upload has none.
pub(crate) const UNNAMED: &str = "upload";

/// Options for a video that is sent as its bytes.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct RawOptions {
    /// Name of the video: 1 to 255 bytes of text on one line. Default: `upload`.
    name: Option<String>,
}

/// A video that the service fetches or reads itself.
#[derive(Deserialize, ToSchema)]
#[expect(dead_code, reason = "it only describes the JSON, which is parsed as an upload message")]
pub(crate) struct VideoByUri {
    /// Where the video is, such as `file:///data/a.mp4`. The setting `ingest.allow` lists the
    /// allowed places.
    #[schema(format = "uri")]
    uri: String,
    /// Name of the video: 1 to 255 bytes of text on one line. Default: the last part of the URI.
    name: Option<String>,
    #[serde(flatten)]
    selection: SelectionOptions,
    /// Length of the windows that a live source is split into, in seconds. Default: the setting
    /// `ingest.window`.
    #[schema(minimum = 1, maximum = 86_400)]
    window: Option<f64>,
    /// Count only objects of these classes. Default, or if empty: all classes.
    #[schema(required = false)]
    labels: Vec<String>,
    /// Alarm rules, such as `person > 10` or `boat >= 1 for 3 frames`. Default: the setting
    /// `aggregator.alarms`; an empty list: no alarms.
    alarms: Option<Vec<String>>,
}

/// Uploads a video
///
/// The body is the video's bytes, or, as `application/json`, where the video is. If you send the
/// same content with the same `Idempotency-Key` again, it is the same video.
#[utoipa::path(
    post, path = "/videos", tag = "uploads",
    params(RawOptions, SelectionOptions, KeyHeader),
    request_body(content(
        ([u8] = "application/octet-stream"),
        (VideoByUri = "application/json")
    )),
    responses(
        (
            status = 202, description = "The video is stored and queued", body = Accepted,
            headers(("location" = String, description = "The video"))
        ),
        UploadErrors
    )
)]
pub(crate) async fn upload_video(
    State(state): State<SharedState>,
    options: Result<Query<RawOptions>, QueryRejection>,
    selection: Result<Query<RequestedSelection>, QueryRejection>,
    headers: HeaderMap,
    body: Body,
) -> Result<Accepted, Problem> {
    let permit = state.admit_upload()?;
    let Query(options) = options?;
    let Query(selection) = selection?;
    check_selection(&selection)?;
    let key = Key::from_headers(&headers)?;
    let max_bytes = state.settings.upload_max_bytes;
    let idle_timeout = state.settings.idle_timeout;
    match content_type(&headers).map(essence) {
        Some("application/json") => {
            let body = LimitedBody::new(&headers, body, MAX_JSON.min(max_bytes), idle_timeout)?;
            submit_uri(&state, parse_upload(&body.all().await?)?, key).await
        }
        Some("multipart/form-data") => Err(Problem::unsupported_type(
            "POST / takes forms; send a video's bytes or JSON to POST /videos",
        )),
        _ => {
            let name = options.name.map_or_else(|| Ok(UNNAMED.to_owned()), checked_name)?;
            let body = LimitedBody::new(&headers, body, max_bytes, idle_timeout)?;
            // If the client disconnects, the handler is dropped; this task still cleans up.
            let receiving = state.tasks.spawn({
                let state = state.clone();
                async move {
                    let _permit = permit;
                    let bytes = receive(&state, body).await?;
                    submit_bytes(&state, name, selection, bytes, key).await
                }
            });
            receiving.await.map_err(Problem::unavailable)?
        }
    }
}

async fn receive(state: &ApiState, mut body: LimitedBody) -> Result<CommittedBytes, Problem> {
    let mut writer = state.objects.draft();
    let write = async {
        while let Some(bytes) = body.next().await? {
            writer.write(bytes).await?;
        }
        Ok(())
    };
    let written = write.await;
    commit(state, writer, written).await
}

/// Commits a video's bytes, or discards all of them after an error.
pub(crate) async fn commit(
    state: &ApiState,
    writer: ObjectWriter,
    written: Result<(), Problem>,
) -> Result<CommittedBytes, Problem> {
    let written = written.and_then(|()| match writer.size() {
        0 => Err(Problem::unprocessable("the video is empty: it has 0 bytes")),
        _ => Ok(()),
    });
    if let Err(problem) = written {
        state.tasks.spawn(writer.discard());
        return Err(problem);
    }
    writer.finish().await.map_err(|(writer, error)| {
        state.tasks.spawn(writer.discard());
        error.into()
    })
}

fn parse_upload(json: &[u8]) -> Result<Upload, Problem> {
    if json.trim_ascii_start().first() != Some(&b'{') {
        return Err(Problem::bad_request("the body must be a JSON object with a \"uri\""));
    }
    let upload = Upload::parse(json).map_err(|error| match error {
        MalformedUpload::Json { reason, .. } if reason.is_data() => {
            Problem::unprocessable(format!("the JSON does not describe an upload: {reason}"))
        }
        MalformedUpload::Field(invalid) => {
            Problem::unprocessable(format!("{} {invalid}", invalid.field()))
        }
        other => Problem::bad_request(other.to_string()),
    })?;
    check_selection(&upload.selection)?;
    if upload.id.is_some() {
        return Err(Problem::unprocessable("id is chosen here; leave it out"));
    }
    Ok(upload)
}

pub(crate) fn content_type(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::CONTENT_TYPE)?.to_str().ok()
}

fn essence(content_type: &str) -> &str {
    content_type.split(';').next().unwrap_or_default().trim()
}

fn checked_name(name: String) -> Result<String, Problem> {
    match Upload::check_name(&name) {
        Ok(()) => Ok(name),
        Err(invalid) => Err(Problem::unprocessable(format!("name {invalid}"))),
    }
}

//! `POST /videos`: one video, as its bytes or as JSON that says where it is.

use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, header};
use moliceiro_nats::messages::{MalformedUpload, Upload};
use moliceiro_nats::objects::{CommittedBytes, ObjectWriter};
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::openapi::{KnownFormat, RefOr, SchemaFormat};
use utoipa::{PartialSchema, ToSchema};

use crate::body::LimitedBody;
use crate::idempotency::{Key, KeyHeader};
use crate::models::{check_options, resolve_models};
use crate::options::{OptionFields, UploadOptions, VideoByUri, invalid_field};
use crate::problem::Problem;
use crate::responses::UploadErrors;
use crate::state::{ApiState, SharedState};
use crate::submit::{Accepted, submit_bytes, submit_uri};

/// Far more than the longest valid description.
const MAX_JSON: u64 = 64 * 1024;
/// The name of a video whose upload has none.
pub(crate) const UNNAMED: &str = "upload";

/// A video's bytes.
pub(crate) struct VideoBytes;

impl PartialSchema for VideoBytes {
    fn schema() -> RefOr<Schema> {
        file().description(Some("A video's bytes")).into()
    }
}

impl ToSchema for VideoBytes {}

/// The schema of a file. Generated clients know it by its format.
pub(crate) fn file() -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::Binary)))
        .min_length(Some(1))
}

/// Uploads a video
///
/// The body is the video's bytes, or, as `application/json`, where the video is. If you send the
/// same content with the same `Idempotency-Key` again, it is the same video. JSON has its options
/// in itself; the query may add those that it does not have.
#[utoipa::path(
    post, path = "/videos", tag = "uploads",
    params(OptionFields, KeyHeader),
    request_body(content(
        (VideoBytes = "application/octet-stream"),
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
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Accepted, Problem> {
    let permit = state.admit_upload().await?;
    let mut options = UploadOptions::from_query(query.as_deref())?;
    resolve_models(&state, &mut options).await?;
    let key = Key::from_headers(&headers)?;
    let max_bytes = state.settings.upload_max_bytes;
    let idle_timeout = state.settings.idle_timeout;
    match content_type(&headers).map(essence) {
        Some("application/json") => {
            let body = LimitedBody::new(&headers, body, MAX_JSON.min(max_bytes), idle_timeout)?;
            let upload = options.complete(parse_upload(&body.all().await?)?)?;
            submit_uri(&state, upload, key).await
        }
        Some("multipart/form-data") => Err(Problem::unsupported_type(
            "POST / takes forms; send a video's bytes or JSON to POST /videos",
        )),
        _ => {
            check_options(&state, &options).await?;
            let name = options.name.take().unwrap_or_else(|| UNNAMED.to_owned());
            let body = LimitedBody::new(&headers, body, max_bytes, idle_timeout)?;
            // If the client disconnects, the handler is dropped; this task still cleans up.
            let receiving = state.tasks.spawn({
                let state = state.clone();
                async move {
                    let _permit = permit;
                    let bytes = receive(&state, body).await?;
                    submit_bytes(&state, name, options, bytes, key).await
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
    VideoByUri::check_fields(json)?;
    Upload::parse(json).map_err(|error| match error {
        MalformedUpload::Json { reason, .. } if reason.is_data() => {
            Problem::unprocessable(format!("the JSON does not describe an upload: {reason}"))
        }
        MalformedUpload::Field(invalid) => invalid_field(&invalid),
        other => Problem::bad_request(other.to_string()),
    })
}

pub(crate) fn content_type(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::CONTENT_TYPE)?.to_str().ok()
}

fn essence(content_type: &str) -> &str {
    content_type.split(';').next().unwrap_or_default().trim()
}

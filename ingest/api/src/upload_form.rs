//! `POST /`: the files of a form, each a video.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use moliceiro_nats::messages::{RequestedSelection, Upload};
use moliceiro_nats::objects::CommittedBytes;
use multer::Multipart;
use serde::Serialize;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

use crate::body::LimitedBody;
use crate::idempotency::{Key, KeyHeader};
use crate::problem::Problem;
use crate::responses::UploadErrors;
use crate::state::{ApiState, SharedState};
use crate::submit::{Accepted, location, submit_bytes};
use crate::upload::{UNNAMED, commit, content_type};
use crate::upload_options::{SelectionOptions, check_selection};

/// Maximum number of files in one form: all of them are stored before the first is queued.
const MAX_FILES: usize = 1000;

/// A form's schema: any field names, each with a file.
pub(crate) struct Form;

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
        form.min_properties(Some(1)).description(Some("Files, with any field names")).into()
    }
}

impl ToSchema for Form {}

/// The videos of a form, in the order of its files.
#[derive(Serialize, ToSchema)]
pub(crate) struct AcceptedForm {
    videos: Vec<Accepted>,
}

/// A file of a form whose bytes are stored.
struct StoredFile {
    name: String,
    bytes: CommittedBytes,
}

/// Uploads files
///
/// A form with files, as `curl -F video=@a.mp4` sends it. All of them are stored before the first
/// is queued. If you send the same files with the same `Idempotency-Key` again, they are the same
/// videos.
#[utoipa::path(
    post, path = "/", tag = "uploads",
    params(SelectionOptions, KeyHeader),
    request_body(content = Form, content_type = "multipart/form-data"),
    responses(
        (
            status = 202, description = "All files are stored and queued", body = AcceptedForm,
            headers(
                ("location" = String, description = "The video; of several, the list of videos")
            )
        ),
        UploadErrors
    )
)]
pub(crate) async fn upload_form(
    State(state): State<SharedState>,
    selection: Result<Query<RequestedSelection>, QueryRejection>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let permit = state.admit_upload()?;
    let Query(selection) = selection?;
    check_selection(&selection)?;
    let key = Key::from_headers(&headers)?;
    let boundary = content_type(&headers).and_then(|text| multer::parse_boundary(text).ok());
    let Some(boundary) = boundary else {
        return Err(Problem::unsupported_type(
            "send a form with files (multipart/form-data), or a video's bytes to POST /videos",
        ));
    };
    let body = LimitedBody::new(
        &headers,
        body,
        state.settings.upload_max_bytes,
        state.settings.idle_timeout,
    )?;
    // If the client disconnects, the handler is dropped; this task still cleans up.
    let receiving = state.tasks.spawn({
        let state = state.clone();
        async move {
            let _permit = permit;
            receive_form(&state, body, boundary, selection, key).await
        }
    });
    let videos = receiving.await.map_err(Problem::unavailable)??;
    let path =
        if let [only] = &videos[..] { only.links.video.clone() } else { "/videos".to_owned() };
    Ok((StatusCode::ACCEPTED, location(&path), Json(AcceptedForm { videos })).into_response())
}

async fn receive_form(
    state: &SharedState,
    body: LimitedBody,
    boundary: String,
    selection: RequestedSelection,
    key: Option<Key>,
) -> Result<Vec<Accepted>, Problem> {
    let unparsed = Arc::new(AtomicUsize::new(0));
    let stream = body.into_stream(unparsed.clone());
    let mut files = Vec::new();
    let read = read_form(state, Multipart::new(stream, boundary), &unparsed, &mut files).await;
    if let Err(problem) = read {
        discard(state, files);
        return Err(problem);
    }
    let mut videos = Vec::with_capacity(files.len());
    let mut files = files.into_iter();
    while let Some(StoredFile { name, bytes }) = files.next() {
        let key = key.as_ref().map(|key| key.part(videos.len()));
        match submit_bytes(state, name, selection, bytes, key).await {
            Ok(accepted) => videos.push(accepted),
            Err(problem) => {
                discard(state, files);
                return Err(problem);
            }
        }
    }
    Ok(videos)
}

fn discard(state: &ApiState, files: impl IntoIterator<Item = StoredFile>) {
    for file in files {
        state.tasks.spawn(file.bytes.discard());
    }
}

async fn read_form(
    state: &ApiState,
    mut form: Multipart<'_>,
    unparsed: &AtomicUsize,
    files: &mut Vec<StoredFile>,
) -> Result<(), Problem> {
    while let Some(mut field) = form.next_field().await.map_err(form_problem)? {
        unparsed.store(0, Ordering::Relaxed);
        // curl sends no file name for a file that it reads from a pipe.
        let name = file_name(field.file_name().or(field.name()).unwrap_or_default());
        if files.len() == MAX_FILES {
            return Err(Problem::unprocessable(format!(
                "a form can have at most {MAX_FILES} files"
            )));
        }
        let mut writer = state.objects.draft();
        let write = async {
            while let Some(bytes) = field.chunk().await.map_err(form_problem)? {
                unparsed.store(0, Ordering::Relaxed);
                writer.write(bytes).await?;
            }
            Ok(())
        };
        let written = write.await;
        let bytes = commit(state, writer, written).await?;
        files.push(StoredFile { name, bytes });
    }
    if files.is_empty() {
        Err(Problem::unprocessable("the form has no file; with curl: -F 'video=@FILE'"))
    } else {
        Ok(())
    }
}

/// A valid name from what a browser or curl calls a file: the last part of its path.
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
            Err(other) => Problem::bad_request(format!("the form is malformed: {other}")),
        },
        other => Problem::bad_request(format!("the form is malformed: {other}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_file_name_becomes_a_valid_name() {
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

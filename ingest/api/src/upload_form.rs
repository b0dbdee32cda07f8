//! `POST /`: the files of a form, each a video, and the options for them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use moliceiro_nats::messages::Upload;
use moliceiro_nats::objects::CommittedBytes;
use multer::{Field, Multipart};
use serde::Serialize;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{AdditionalProperties, ObjectBuilder, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::audit::AuditedVideos;
use crate::body::{LimitedBody, refuse_encoding};
use crate::idempotency::{Key, KeyHeader};
use crate::models::{check_options, resolve_models};
use crate::options::{OptionFields, UploadOptions, text_fields};
use crate::problem::Problem;
use crate::responses::UploadErrors;
use crate::state::{ApiState, SharedState};
use crate::submit::{Accepted, location, submit_bytes};
use crate::suggestion::unknown;
use crate::upload::{UNNAMED, commit, content_type, file};

/// Maximum number of files and options in one form: all are read before the first video is queued.
const MAX_PARTS: usize = 1000;
/// Maximum bytes of an option.
const MAX_FIELD: usize = 4096;

/// A form: options, and any other field names, each with a file.
pub(crate) struct Form {
    files: Vec<StoredFile>,
    options: UploadOptions,
}

impl PartialSchema for Form {
    fn schema() -> RefOr<Schema> {
        let video = file().description(Some(
            "A video. For several, repeat the field, or use any other names that are not options.",
        ));
        ObjectBuilder::from(text_fields())
            .property("video", video)
            .additional_properties(Some(AdditionalProperties::<Schema>::FreeForm(false)))
            .description(Some("Files, and options for all of them."))
            .into()
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
/// is queued. Options are in the query or in fields of the form, before or after the files, and
/// hold for all of them. If you send the same files with the same `Idempotency-Key` again, they are
/// the same videos.
#[utoipa::path(
    post, path = "/", tag = "uploads",
    params(OptionFields, KeyHeader),
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
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let permit = state.admit_upload().await?;
    let options = UploadOptions::from_query(query.as_deref())?;
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
            receive_form(&state, body, boundary, options, key).await
        }
    });
    let videos = receiving.await.map_err(Problem::unavailable)??;
    let path =
        if let [only] = &videos[..] { only.links.video.clone() } else { "/videos".to_owned() };
    let audited = Extension(AuditedVideos(videos.iter().map(|video| video.id.clone()).collect()));
    let body = Json(AcceptedForm { videos });
    Ok((StatusCode::ACCEPTED, location(&path), audited, body).into_response())
}

async fn receive_form(
    state: &SharedState,
    body: LimitedBody,
    boundary: String,
    mut options: UploadOptions,
    key: Option<Key>,
) -> Result<Vec<Accepted>, Problem> {
    let unparsed = Arc::new(AtomicUsize::new(0));
    let stream = body.into_stream(unparsed.clone());
    let mut form = Form { files: Vec::new(), options: UploadOptions::default() };
    let read = form.read(state, Multipart::new(stream, boundary), &unparsed).await;
    let Form { mut files, options: fields } = form;
    let complete = read.and_then(|()| name_only(&mut files, &mut options, fields));
    let complete = async {
        complete?;
        resolve_models(state, &mut options).await?;
        check_options(state, &options).await
    };
    if let Err(problem) = complete.await {
        discard(state, files);
        return Err(problem);
    }
    let mut videos = Vec::with_capacity(files.len());
    let mut files = files.into_iter();
    while let Some(StoredFile { name, bytes }) = files.next() {
        let key = key.as_ref().map(|key| key.part(videos.len()));
        match submit_bytes(state, name, options.clone(), bytes, key).await {
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

/// Adds the form's options to those of the query. A name is that of the only file.
fn name_only(
    files: &mut [StoredFile],
    options: &mut UploadOptions,
    fields: UploadOptions,
) -> Result<(), Problem> {
    options.merge(fields)?;
    match (options.name.take(), files) {
        (None, _) => Ok(()),
        (Some(name), [only]) => {
            only.name = name;
            Ok(())
        }
        (Some(_), _) => Err(Problem::unprocessable(
            "name is for a form with one file; several have the names of their files",
        )),
    }
}

impl Form {
    async fn read(
        &mut self,
        state: &ApiState,
        mut form: Multipart<'_>,
        unparsed: &AtomicUsize,
    ) -> Result<(), Problem> {
        for part in 0.. {
            let Some(field) = form.next_field().await.map_err(form_problem)? else { break };
            unparsed.store(0, Ordering::Relaxed);
            if part == MAX_PARTS {
                return Err(Problem::unprocessable(format!(
                    "a form can have at most {MAX_PARTS} files and fields"
                )));
            }
            refuse_encoded(field.headers())?;
            if is_file(&field) {
                self.read_file(state, field, unparsed).await?;
            } else {
                self.read_option(field).await?;
            }
        }
        if self.files.is_empty() {
            return Err(Problem::unprocessable(
                "the form has no file; with curl: -F 'video=@FILE'",
            ));
        }
        Ok(())
    }

    async fn read_file(
        &mut self,
        state: &ApiState,
        mut field: Field<'_>,
        unparsed: &AtomicUsize,
    ) -> Result<(), Problem> {
        let name = file_name(field.file_name().or(field.name()).unwrap_or_default());
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
        self.files.push(StoredFile { name, bytes });
        Ok(())
    }

    async fn read_option(&mut self, mut field: Field<'_>) -> Result<(), Problem> {
        let name = field.name().unwrap_or_default().to_owned();
        if !UploadOptions::FIELDS.contains(&name.as_str()) {
            let detail = unknown("field", &name, UploadOptions::FIELDS);
            return Err(Problem::bad_request(format!(
                "{detail} (a file has a file name; with curl: -F 'video=@FILE')"
            )));
        }
        let mut value = Vec::new();
        while let Some(bytes) = field.chunk().await.map_err(form_problem)? {
            value.extend_from_slice(&bytes);
            if value.len() > MAX_FIELD {
                return Err(Problem::bad_request(format!(
                    "the field {name} has more than {MAX_FIELD} bytes"
                )));
            }
        }
        let value = String::from_utf8(value)
            .map_err(|_| Problem::bad_request(format!("the field {name} is not UTF-8 text")))?;
        self.options.set("field", &name, &value)
    }
}

/// A file has a name, or the type of anything but text: some clients do not name what they read
/// from a pipe.
fn is_file(field: &Field<'_>) -> bool {
    let is_option = field.name().is_some_and(|name| UploadOptions::FIELDS.contains(&name));
    let is_text = field.content_type().is_none_or(|kind| kind.type_() == "text");
    field.file_name().is_some() || !(is_option || is_text)
}

/// A part's content is stored as it is sent.
fn refuse_encoded(headers: &HeaderMap) -> Result<(), Problem> {
    refuse_encoding(headers)?;
    let encoding = headers.get("content-transfer-encoding").map(|value| value.as_bytes());
    match encoding.map(<[u8]>::to_ascii_lowercase).as_deref() {
        None | Some(b"binary" | b"8bit" | b"7bit") => Ok(()),
        Some(_) => Err(Problem::unsupported_type(
            "a part of the form has a Content-Transfer-Encoding: send the file as it is",
        )),
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

pub(crate) fn form_problem(error: multer::Error) -> Problem {
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

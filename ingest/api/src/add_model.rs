//! `POST /models`: a model's file, which a detector checks before it is added.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use moliceiro_nats::messages::{ModelDescription, ModelId};
use moliceiro_nats::models::CheckError;
use moliceiro_nats::objects::{CommittedBytes, ObjectWriter};
use multer::{Field, Multipart};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::body::LimitedBody;
use crate::problem::Problem;
use crate::responses::UploadErrors;
use crate::state::{ApiState, SharedState};
use crate::submit::location;
use crate::upload::content_type;
use crate::upload_form::form_problem;

/// Manifests are small.
const MAX_MANIFEST: usize = 512 * 1024;
const MAX_NAME: usize = 256;
const MAX_PARTS: usize = 3;

/// A model's file, its manifest if it needs one, and its name.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "it only describes the form")]
pub(crate) struct ModelForm {
    /// The ONNX file.
    #[schema(format = Binary, content_media_type = "application/octet-stream")]
    model: String,
    /// What the file does not say about itself, as TOML with the labels in it.
    #[schema(format = Binary)]
    manifest: Option<String>,
    /// Its name. Default: the name of the file.
    #[schema(pattern = "^[a-z0-9_-]{1,48}$")]
    name: Option<String>,
}

/// What the form has.
#[derive(Default)]
struct Parts {
    model: Option<CommittedBytes>,
    file_name: Option<String>,
    manifest: Option<String>,
    name: Option<ModelId>,
}

/// Adds a model
///
/// A detector loads the file and runs it once; a file that cannot be used is refused. It becomes
/// the next version of its name, unless the latest one is the same.
#[utoipa::path(
    post, path = "/models", tag = "models",
    request_body(content = ModelForm, content_type = "multipart/form-data"),
    responses(
        (
            status = 201, description = "The model is added", body = ModelDescription,
            headers(("location" = String, description = "The model"))
        ),
        UploadErrors
    )
)]
pub(crate) async fn add_model(
    State(state): State<SharedState>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let permit = state.admit_upload().await?;
    let boundary = content_type(&headers).and_then(|text| multer::parse_boundary(text).ok());
    let Some(boundary) = boundary else {
        return Err(Problem::unsupported_type(
            "send a form with the file (multipart/form-data): curl -F model=@boats.onnx",
        ));
    };
    let settings = &state.settings;
    let body = LimitedBody::new(&headers, body, settings.upload_max_bytes, settings.idle_timeout)?;
    // If the client disconnects, the handler is dropped; this task still cleans up.
    let adding = state.tasks.spawn({
        let state = state.clone();
        async move {
            let _permit = permit;
            let mut parts = Parts::default();
            let read = parts.read(&state, body, boundary).await;
            parts.add(&state, read).await
        }
    });
    let added = adding.await.map_err(Problem::unavailable)??;
    let path = format!("/models/{}", added.model);
    Ok((StatusCode::CREATED, location(&path), Json(added)).into_response())
}

impl Parts {
    async fn read(
        &mut self,
        state: &ApiState,
        body: LimitedBody,
        boundary: String,
    ) -> Result<(), Problem> {
        // Reset whenever the parser returns something: it would buffer without bound otherwise.
        let unparsed = Arc::new(AtomicUsize::new(0));
        let stream = body.into_stream(Arc::clone(&unparsed));
        let mut form = Multipart::new(stream, boundary);
        let mut parts = 0;
        while let Some(field) = form.next_field().await.map_err(form_problem)? {
            unparsed.store(0, Ordering::Relaxed);
            parts += 1;
            if parts > MAX_PARTS {
                return Err(Problem::unprocessable("the form has more than one model"));
            }
            match field.name() {
                Some("model") if self.model.is_none() => {
                    self.file_name = field.file_name().map(str::to_owned);
                    self.model = Some(store(state, field, &unparsed).await?);
                }
                Some("manifest") => self.manifest = Some(text(field, MAX_MANIFEST).await?),
                Some("name") => {
                    let name = text(field, MAX_NAME).await?;
                    let invalid = |e| Problem::unprocessable(format!("name: {e}"));
                    self.name = Some(name.trim().parse().map_err(invalid)?);
                }
                _ => {
                    return Err(Problem::bad_request(
                        "the form has a field that is not model, manifest or name",
                    ));
                }
            }
        }
        Ok(())
    }

    async fn add(
        self,
        state: &ApiState,
        read: Result<(), Problem>,
    ) -> Result<ModelDescription, Problem> {
        let Self { model, file_name, manifest, name } = self;
        let Some(bytes) = model else {
            read?;
            return Err(Problem::unprocessable("the form has no model: curl -F model=@boats.onnx"));
        };
        if let Err(problem) = read {
            state.tasks.spawn(bytes.discard());
            return Err(problem);
        }
        let stem = file_name.unwrap_or_default();
        let name = name.unwrap_or_else(|| ModelId::for_name(stem.trim_end_matches(".onnx")));
        let streams = &state.streams;
        match streams.models.check_and_add(streams, name, manifest, bytes).await {
            Ok(added) => Ok(added),
            Err(CheckError::Unusable(reason)) => Err(Problem::unprocessable(reason)),
            Err(error @ CheckError::NoDetector) => {
                let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string());
                Err(problem.with(header::RETRY_AFTER, 5.into()))
            }
            Err(CheckError::Models(error)) => Err(error.into()),
        }
    }
}

async fn store(
    state: &ApiState,
    mut field: Field<'_>,
    unparsed: &AtomicUsize,
) -> Result<CommittedBytes, Problem> {
    let mut writer: ObjectWriter = state.streams.models.draft();
    let write = async {
        while let Some(bytes) = field.chunk().await.map_err(form_problem)? {
            unparsed.store(0, Ordering::Relaxed);
            writer.write(bytes).await?;
        }
        Ok(())
    };
    let written: Result<(), Problem> = write.await;
    if let Err(problem) = written {
        state.tasks.spawn(writer.discard());
        return Err(problem);
    }
    writer.finish().await.map_err(|(writer, error)| {
        state.tasks.spawn(writer.discard());
        error.into()
    })
}

async fn text(mut field: Field<'_>, limit: usize) -> Result<String, Problem> {
    let name = field.name().unwrap_or_default().to_owned();
    let mut all = Vec::new();
    while let Some(bytes) = field.chunk().await.map_err(form_problem)? {
        if all.len() + bytes.len() > limit {
            return Err(Problem::unprocessable(format!("{name} is longer than {limit} bytes")));
        }
        all.extend_from_slice(&bytes);
    }
    String::from_utf8(all).map_err(|_| Problem::unprocessable(format!("{name} is not text")))
}

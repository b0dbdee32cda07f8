use std::time::Duration;

use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use moliceiro_nats::messages::{InvalidModelId, MalformedPlace, MalformedRule, to_json};
use moliceiro_nats::objects::ObjectError;
use moliceiro_nats::storage::StuckStream;
use moliceiro_nats::videos::VideoError;
use serde::Serialize;
use thiserror::Error;
use tracing::warn;
use utoipa::ToSchema;

/// When a client may retry a request that was rejected for load or for an unavailable server.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// An error response as RFC 9457 defines it: `application/problem+json`.
#[derive(Debug, Error)]
#[error("{detail}")]
pub(crate) struct Problem {
    status: StatusCode,
    detail: String,
    header: Option<(HeaderName, HeaderValue)>,
}

/// Problem details (RFC 9457). The status identifies the problem, so the type is `about:blank`.
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub(crate) struct ProblemBody {
    /// `about:blank`
    r#type: &'static str,
    /// The meaning of the status.
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// What is wrong, and how to fix it.
    detail: String,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, detail: detail.into(), header: None }
    }

    pub(crate) fn with(self, name: HeaderName, value: HeaderValue) -> Self {
        Self { header: Some((name, value)), ..self }
    }

    pub(crate) fn retry(self) -> Self {
        self.with(header::RETRY_AFTER, RETRY_AFTER.as_secs().into())
    }

    pub(crate) fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    pub(crate) fn unprocessable(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
    }

    pub(crate) fn unsupported_type(detail: &str) -> Self {
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail)
    }

    pub(crate) fn not_acceptable(offers: &[&str]) -> Self {
        Self::new(
            StatusCode::NOT_ACCEPTABLE,
            format!("Accept allows none of the formats: {}", offers.join(", ")),
        )
    }

    pub(crate) fn unknown_video(id: &str) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            format!("video {id} does not exist; GET /videos lists all videos"),
        )
    }

    pub(crate) fn too_large(limit: u64) -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("the request is larger than {limit} bytes (http.upload_max_bytes)"),
        )
    }

    pub(crate) fn too_many(limit: usize) -> Self {
        Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            format!("{limit} uploads are in progress already (http.uploads); retry soon"),
        )
        .retry()
    }

    /// The NATS server cannot write what is uploaded.
    pub(crate) fn stuck(stuck: &StuckStream) -> Self {
        if !stuck.was_full() {
            return Self::unavailable(stuck);
        }
        Self::new(
            StatusCode::INSUFFICIENT_STORAGE,
            "the disk of the NATS server was full: it stores nothing until its operator makes \
             space and restarts it",
        )
    }

    /// Logs the reason, which may name the server, and does not send it to the client.
    pub(crate) fn unavailable(reason: impl std::fmt::Display) -> Self {
        warn!(%reason, "a request failed: the NATS server is unavailable");
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "the NATS server does not answer; retry soon")
            .retry()
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let title = self.status.canonical_reason().unwrap_or("Error");
        let body = ProblemBody {
            r#type: "about:blank",
            title,
            status: self.status.as_u16(),
            detail: self.detail,
        };
        let content_type = [(header::CONTENT_TYPE, "application/problem+json")];
        (self.status, HeaderMap::from_iter(self.header), content_type, to_json(&body))
            .into_response()
    }
}

impl From<ObjectError> for Problem {
    fn from(error: ObjectError) -> Self {
        match error {
            ObjectError::Unavailable(reason) => Self::unavailable(reason),
            ObjectError::Full(reason) => {
                warn!(reason, "an upload does not fit into the object store");
                Self::new(
                    StatusCode::INSUFFICIENT_STORAGE,
                    "the object store of the NATS server is full",
                )
            }
            other => Self::unprocessable(other.to_string()),
        }
    }
}

impl From<InvalidModelId> for Problem {
    fn from(invalid: InvalidModelId) -> Self {
        Self::unprocessable(invalid.to_string())
    }
}

impl From<MalformedRule> for Problem {
    fn from(malformed: MalformedRule) -> Self {
        Self::unprocessable(format!("alarms: {malformed}"))
    }
}

impl From<MalformedPlace> for Problem {
    fn from(malformed: MalformedPlace) -> Self {
        Self::unprocessable(format!("{}s: {malformed}", malformed.kind))
    }
}

impl From<VideoError> for Problem {
    fn from(error: VideoError) -> Self {
        match error {
            VideoError::Malformed { key, source } => {
                warn!(video = key, %source, "a request failed: the entry of a video is damaged");
                Self::new(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    format!("the entry of video {key} is damaged; an aggregator rebuilds it"),
                )
                .retry()
            }
            error @ VideoError::Unavailable { .. } => Self::unavailable(error),
        }
    }
}

impl From<QueryRejection> for Problem {
    fn from(rejection: QueryRejection) -> Self {
        Self::bad_request(rejection.body_text())
    }
}

impl From<PathRejection> for Problem {
    fn from(rejection: PathRejection) -> Self {
        Self::bad_request(rejection.body_text())
    }
}

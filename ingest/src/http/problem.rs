use std::time::Duration;

use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use moliceiro_nats::objects::ObjectError;
use serde::Serialize;
use thiserror::Error;
use tracing::warn;
use utoipa::ToSchema;

/// After so long a client may try again what was too much, or had no server.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// Why a request is not answered as it wishes: RFC 9457, `application/problem+json`.
#[derive(Debug, Error)]
#[error("{detail}")]
pub(super) struct Problem {
    status: StatusCode,
    detail: String,
    header: Option<(HeaderName, HeaderValue)>,
}

/// A problem as RFC 9457 has it. The status tells its kind, so its type is `about:blank`.
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub(super) struct ProblemBody {
    /// `about:blank`
    r#type: &'static str,
    /// What the status means.
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// What is wrong, and what would do.
    detail: String,
}

impl Problem {
    pub(super) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, detail: detail.into(), header: None }
    }

    pub(super) fn with(self, name: HeaderName, value: HeaderValue) -> Self {
        Self { header: Some((name, value)), ..self }
    }

    fn retry(self) -> Self {
        self.with(header::RETRY_AFTER, RETRY_AFTER.as_secs().into())
    }

    pub(super) fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    pub(super) fn unprocessable(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
    }

    pub(super) fn no_such_video(id: &str) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            format!("there is no video {id}; GET /videos lists those that there are"),
        )
    }

    pub(super) fn too_large(limit: u64) -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!(
                "the request has more than the {limit} bytes that are taken (ingest.upload_max_bytes)"
            ),
        )
    }

    pub(super) fn too_many(limit: usize) -> Self {
        Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            format!("{limit} uploads are being taken already (ingest.uploads); try again soon"),
        )
        .retry()
    }

    /// What the NATS server does not give or take now.
    pub(super) fn unavailable(reason: impl std::fmt::Display) -> Self {
        warn!(%reason, "a request fails for want of the NATS server");
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "the NATS server does not answer; try again soon",
        )
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
        (
            self.status,
            HeaderMap::from_iter(self.header),
            content_type,
            moliceiro_nats::messages::to_json(&body),
        )
            .into_response()
    }
}

impl From<ObjectError> for Problem {
    fn from(error: ObjectError) -> Self {
        match error {
            ObjectError::Unavailable(reason) => Self::unavailable(reason),
            ObjectError::Full(reason) => {
                warn!(reason, "an upload finds no room");
                Self::new(
                    StatusCode::INSUFFICIENT_STORAGE,
                    "the object store of the NATS server has no room for this",
                )
            }
            other => Self::unprocessable(other.to_string()),
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

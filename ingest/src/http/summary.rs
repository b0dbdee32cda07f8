//! A video's summary, for programs and for people.

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use moliceiro_nats::messages::Summary;

use super::Api;
use super::negotiation::preferred;
use super::problem::{Problem, ProblemBody};

const JSON: &str = "application/json";
const TEXT: &str = "text/plain";

/// Shows a video's summary
///
/// As JSON, or as the lines that Moliceiro prints. There is one when nothing more will happen to
/// the video.
#[utoipa::path(
    get, path = "/videos/{id}/summary", tag = "videos",
    params(("id" = moliceiro_nats::VideoId, Path, description = "The video's id")),
    responses(
        (status = 200, description = "What was in it", content((Summary = "application/json"), (String = "text/plain"))),
        (status = 406, description = "There is no such format", content_type = "application/problem+json", body = ProblemBody),
        (status = 409, description = "The video is not over yet", content_type = "application/problem+json", body = ProblemBody),
        super::Unknown
    )
)]
pub(super) async fn show(
    State(api): State<Api>,
    id: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let Path(id) = id?;
    let Some(format) = preferred(&headers, &[JSON, TEXT]) else {
        return Err(Problem::new(
            StatusCode::NOT_ACCEPTABLE,
            format!("there are {JSON} and {TEXT}"),
        ));
    };
    let Some(summary) = api.video(&id).await?.summary else {
        return Err(Problem::new(
            StatusCode::CONFLICT,
            "the video has no summary yet: it is not over",
        ));
    };
    if format == JSON {
        return Ok(Json(summary).into_response());
    }
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], format!("{summary}\n"))
        .into_response())
}

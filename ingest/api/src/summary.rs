use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use moliceiro_nats::VideoId;
use moliceiro_nats::messages::Summary;

use crate::negotiation::preferred;
use crate::problem::{Problem, ProblemBody};
use crate::responses::VideoErrors;
use crate::state::SharedState;
use crate::video::find_video;

const JSON: &str = "application/json";
const TEXT: &str = "text/plain";

/// Shows a video's summary
///
/// As JSON, or as the lines that `moliceiro run` prints. It is available once the video has ended.
#[utoipa::path(
    get, path = "/videos/{id}/summary", tag = "videos",
    params(("id" = VideoId, Path, description = "The video's id")),
    responses(
        (
            status = 200, description = "The final counts",
            content((Summary = "application/json"), (String = "text/plain"))
        ),
        (
            status = 406, description = "Accept allows none of the formats",
            content_type = "application/problem+json", body = ProblemBody
        ),
        (
            status = 409, description = "The video has not ended yet",
            content_type = "application/problem+json", body = ProblemBody
        ),
        VideoErrors
    )
)]
pub(crate) async fn show_summary(
    State(state): State<SharedState>,
    id: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let Path(id) = id?;
    let Some(format) = preferred(&headers, &[JSON, TEXT]) else {
        return Err(Problem::not_acceptable(&[JSON, TEXT]));
    };
    let Some(summary) = find_video(&state, &id).await?.summary else {
        return Err(Problem::new(
            StatusCode::CONFLICT,
            "the summary is not available yet: the video has not ended",
        ));
    };
    if format == JSON {
        return Ok(Json(summary).into_response());
    }
    let text = format!("{summary}\n");
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response())
}

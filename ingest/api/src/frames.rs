use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use moliceiro_nats::VideoId;
use moliceiro_nats::messages::{Detection, FrameResult, to_json};
use serde::Serialize;
use utoipa::ToSchema;

use crate::problem::Problem;
use crate::responses::VideoErrors;
use crate::result_stream::{missing_header, stream_results};
use crate::state::SharedState;
use crate::video::find_video;

/// An analysed frame.
#[derive(Serialize, ToSchema)]
pub(crate) struct AnalysedFrame {
    /// The frame's index.
    frame: u64,
    /// The frame's presentation time, in seconds.
    time_s: Option<f64>,
    /// The objects in the frame, the highest score first: `label`, `score` from 0 to 1, and `box`
    /// (left, top, right, bottom) in pixels of the video's own upright frame.
    #[schema(value_type = Vec<Object>)]
    objects: Vec<Detection>,
}

fn line(FrameResult { index, pts, objects, .. }: FrameResult) -> Bytes {
    let objects = objects.counted().map(Detection::from).collect();
    let frame = AnalysedFrame { frame: index, time_s: pts.map(|ns| ns as f64 / 1e9), objects };
    [to_json(&frame), b"\n".to_vec()].concat().into()
}

/// Lists the analysed frames
///
/// One line for each frame analysed so far, including frames without objects. They are kept for
/// `streams.keep_detections`. Nearly in order: a frame whose analysis took longer may be late. If
/// results of counted frames are not stored any more, the header `Moliceiro-Missing-Frames` has
/// their number, and the first and the last of them: `2; first=3; last=7`.
#[utoipa::path(
    get, path = "/videos/{id}/frames", tag = "videos",
    params(("id" = VideoId, Path, description = "The video's id")),
    responses(
        (
            status = 200, description = "One frame per line, each an `AnalysedFrame`",
            content_type = "application/x-ndjson", body = String
        ),
        VideoErrors
    )
)]
pub(crate) async fn list_frames(
    State(state): State<SharedState>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    let Path(id) = id?;
    let video = find_video(&state, &id).await?.id;
    let missing = missing_header(&state, &video).await?;
    let body = stream_results(&state, &video, Bytes::new(), line).await?;
    Ok((missing, [(header::CONTENT_TYPE, "application/x-ndjson")], body).into_response())
}

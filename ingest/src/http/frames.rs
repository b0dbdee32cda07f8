//! Every frame that was looked at, with what is in it.

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use moliceiro_nats::VideoId;
use moliceiro_nats::detections::detections;
use moliceiro_nats::messages::{Detection, FrameResult, to_json};
use serde::Serialize;
use utoipa::ToSchema;

use super::Api;
use super::problem::Problem;

/// A frame that was looked at.
#[derive(Serialize, ToSchema)]
pub(super) struct LookedAt {
    /// The frame's index.
    frame: u64,
    /// The frame's presentation time, in seconds.
    time_s: Option<f64>,
    /// What is in it, best first: `label`, `score` from 0 to 1, and `box`, which is left, top,
    /// right, bottom in pixels of the video's own upright frame.
    #[schema(value_type = Vec<Object>)]
    objects: Vec<Detection>,
}

fn line(FrameResult { index, pts, detections, .. }: FrameResult) -> Bytes {
    let frame =
        LookedAt { frame: index, time_s: pts.map(|ns| ns as f64 / 1e9), objects: detections };
    [to_json(&frame), b"\n".to_vec()].concat().into()
}

/// Lists the frames
///
/// One line for each frame that is looked at already, those with nothing in them too. They are kept
/// for `streams.keep_detections`. Nearly in order: a frame that took long may come late.
#[utoipa::path(
    get, path = "/videos/{id}/frames", tag = "videos",
    params(("id" = VideoId, Path, description = "The video's id")),
    responses((status = 200, description = "One frame a line", content_type = "application/x-ndjson", body = LookedAt), super::Unknown)
)]
pub(super) async fn list(
    State(api): State<Api>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    let Path(id) = id?;
    let video = api.video(&id).await?;
    let mut frames = Box::pin(detections(&api.means.streams, &video.id));
    // The first one tells whether the server gives any: later there is no other status to answer
    // with.
    let first = frames.next().await.transpose().map_err(Problem::unavailable)?;
    let body =
        Body::from_stream(stream::iter(first).map(Ok).chain(frames).map(|frame| frame.map(line)));
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], body).into_response())
}

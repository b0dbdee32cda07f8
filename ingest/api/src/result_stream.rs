use axum::body::Body;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use moliceiro_nats::VideoId;
use moliceiro_nats::detections::detections;
use moliceiro_nats::messages::FrameResult;

use crate::problem::Problem;
use crate::state::ApiState;

/// A response body with `head`, and then what `write` makes of each frame's result.
///
/// Waits for the first result: once the body has started, an error cannot change the status.
pub(crate) async fn stream_results(
    state: &ApiState,
    video: &VideoId,
    head: impl Into<Bytes>,
    write: impl Fn(FrameResult) -> Bytes + Send + 'static,
) -> Result<Body, Problem> {
    let mut results = Box::pin(detections(&state.streams, video));
    let first = results.next().await.transpose().map_err(Problem::unavailable)?;
    let lines = stream::iter(first).map(Ok).chain(results).map(move |result| result.map(&write));
    Ok(Body::from_stream(stream::iter([Ok(head.into())]).chain(lines)))
}

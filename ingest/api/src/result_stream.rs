use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use moliceiro_nats::VideoId;
use moliceiro_nats::detections::{Missing, detections};
use moliceiro_nats::messages::FrameResult;

use crate::problem::Problem;
use crate::state::ApiState;

/// How many frames that are counted are not in the response, as their results are not stored any
/// more, and the first and the last of them.
const MISSING: HeaderName = HeaderName::from_static("moliceiro-missing-frames");

/// Says in a header what a list of results lacks: once the body has started, it is too late.
pub(crate) async fn missing_header(
    state: &ApiState,
    video: &VideoId,
) -> Result<HeaderMap, Problem> {
    let missing = Missing::of(&state.streams, video).await.map_err(Problem::unavailable)?;
    let text = missing.as_ref().and_then(|missing| {
        let (first, last) = missing.span()?;
        Some(format!("{}; first={first}; last={last}", missing.len()))
    });
    let value = text.and_then(|text| HeaderValue::try_from(text).ok());
    Ok(value.map(|value| (MISSING, value)).into_iter().collect())
}

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

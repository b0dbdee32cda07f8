//! `/work`: how long the frames in the queue take.

use std::time::Duration;

use async_nats::service::{NATS_SERVICE_ERROR, NATS_SERVICE_ERROR_CODE};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use moliceiro_nats::messages::{QueuedWork, from_json};
use moliceiro_nats::subjects;

use crate::problem::Problem;
use crate::responses::RequestErrors;
use crate::state::SharedState;

const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// Shows the work in the frame queue
///
/// Frames that detectors have in flight are work, too. The number of detectors to run is
/// `detector_seconds`, divided by the seconds that frames may wait.
#[utoipa::path(
    get, path = "/work", tag = "work",
    responses((status = 200, description = "The work, by model", body = QueuedWork), RequestErrors)
)]
pub(crate) async fn show_work(
    State(state): State<SharedState>,
) -> Result<Json<QueuedWork>, Problem> {
    let request = async_nats::Request::new().timeout(Some(ANSWER_TIMEOUT));
    let client = state.streams.jetstream.client();
    let answer = client.send_request(subjects::WORK_SUBJECT, request).await.map_err(|_| {
        let reason = "no aggregator answers, which measures the queue: start one";
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, reason).retry()
    })?;
    let headers = answer.headers.as_ref();
    if headers.is_some_and(|headers| headers.get(NATS_SERVICE_ERROR_CODE).is_some()) {
        let reason = headers.and_then(|headers| headers.get(NATS_SERVICE_ERROR));
        let reason = reason.map_or("", |reason| reason.as_str());
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, reason.to_owned()).retry());
    }
    from_json(&answer.payload).map(Json).map_err(Problem::unavailable)
}

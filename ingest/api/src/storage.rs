//! What clients get while the NATS server cannot write what they upload.

use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::state::SharedState;

/// Replaces the response to an upload that failed because the server's disk was full: all that was
/// noticed is that the server did not answer.
pub(crate) async fn report_full(
    State(state): State<SharedState>,
    request: Request,
    next: Next,
) -> Response {
    let is_upload = request.method() == Method::POST;
    let response = next.run(request).await;
    if is_upload
        && response.status() == StatusCode::SERVICE_UNAVAILABLE
        && let Err(problem) = state.check_storage().await
    {
        return problem.into_response();
    }
    response
}

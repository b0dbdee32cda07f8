//! Middleware that records who changed what.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use moliceiro_nats::VideoId;
use moliceiro_nats::messages::{AuditAction, AuditRecord};

use crate::problem::Problem;
use crate::state::SharedState;
use crate::tokens::Caller;

/// Put into the response to a form with several videos: which ones they are.
#[derive(Clone)]
pub(crate) struct AuditedVideos(pub(crate) Vec<VideoId>);

/// Records each change that succeeds, before its response is sent.
pub(crate) async fn record(
    State(state): State<SharedState>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    if matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS) {
        return Ok(next.run(request).await);
    }
    // A client that disconnects must not have a change without a record.
    let changing = state.tasks.spawn({
        let state = state.clone();
        async move {
            let caller = request.extensions().get::<Caller>().cloned();
            let (method, path) = (request.method().clone(), request.uri().path().to_owned());
            let response = next.run(request).await;
            if response.status().is_success()
                && let Some(caller) = caller
            {
                for record in records(&caller, &method, &path, &response) {
                    state.streams.audit(record).await;
                }
            }
            response
        }
    });
    changing.await.map_err(Problem::unavailable)
}

fn records(caller: &Caller, method: &Method, path: &str, response: &Response) -> Vec<AuditRecord> {
    let now = |action| AuditRecord::now(&*caller.name, action);
    let parts: Vec<_> = path.trim_matches('/').split('/').collect();
    let of_video = |record: AuditRecord, id: &str| match VideoId::try_from(id.to_owned()) {
        Ok(video) => record.of_video(video),
        Err(_) => record,
    };
    let of_model = |record: AuditRecord, model: &str| match model.parse() {
        Ok(model) => record.of_model(model),
        Err(_) => record,
    };
    let created = |of: &str| location(response.headers(), of).unwrap_or_default();
    match (method.as_str(), &parts[..]) {
        ("POST", [""] | ["videos"]) => match response.extensions().get::<AuditedVideos>() {
            Some(AuditedVideos(videos)) => videos
                .iter()
                .map(|video| now(AuditAction::Upload).of_video(video.clone()))
                .collect(),
            None => vec![of_video(now(AuditAction::Upload), created("/videos/"))],
        },
        ("DELETE", ["videos", id]) if response.status() == StatusCode::NO_CONTENT => {
            vec![of_video(now(AuditAction::Delete), id)]
        }
        ("DELETE", ["videos", id]) => vec![of_video(now(AuditAction::Cancel), id)],
        ("POST", ["models"]) => vec![of_model(now(AuditAction::AddModel), created("/models/"))],
        ("DELETE", ["models", model]) => vec![of_model(now(AuditAction::RemoveModel), model)],
        _ => vec![],
    }
}

fn location<'a>(headers: &'a HeaderMap, of: &str) -> Option<&'a str> {
    headers.get(header::LOCATION)?.to_str().ok()?.strip_prefix(of)
}

//! What the stored results of a video come to: its tracks, crossings and visits, by the rules of
//! its upload or by others.

use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection};
use axum::extract::{Path, State};
use moliceiro_nats::VideoId;
use moliceiro_nats::messages::{AlarmRule, Crossing, TrackRecord, Visit, naming_field};
use moliceiro_replay::{Analysis, Question, ReplayError, TrackNumbers, analyse};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::options::invalid_field;
use crate::problem::Problem;
use crate::responses::{AnalysisErrors, VideoErrors};
use crate::state::{ApiState, SharedState};
use crate::video::find_video;

/// What to ask of stored results. What is left out is as the upload asked.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct AnalysisRequest {
    /// Count objects whose score is above this, 0 to 1. Results hold those above the detector's
    /// floor.
    #[schema(minimum = 0, maximum = 1)]
    threshold: Option<f32>,
    /// How an object is recognised as the same one in other frames. With `none`, the upload's lines
    /// and zones are left out.
    #[schema(inline)]
    tracker: Option<moliceiro_nats::messages::TrackerKind>,
    /// Lines, such as `gate: 0.1,0.8 0.9,0.8`.
    #[schema(value_type = Option<Vec<String>>)]
    lines: Option<Vec<moliceiro_nats::messages::Line>>,
    /// Zones, such as `quay: 0,0.5 1,0.5 1,1 0,1`.
    #[schema(value_type = Option<Vec<String>>)]
    zones: Option<Vec<moliceiro_nats::messages::Zone>>,
    /// Alarm rules, such as `person crosses gate`. Their alarms are in the response, and are not
    /// published.
    #[schema(value_type = Option<Vec<String>>)]
    alarms: Option<Vec<AlarmRule>>,
}

/// The tracks of a video.
#[derive(Serialize, ToSchema)]
pub(crate) struct Tracks {
    #[serde(flatten)]
    analysis: Analysis,
    /// Every track, in the order in which they ended.
    records: Vec<TrackRecord>,
}

/// The crossings of the lines of a video.
#[derive(Serialize, ToSchema)]
pub(crate) struct Crossings {
    #[serde(flatten)]
    analysis: Analysis,
    /// Every crossing, in order.
    records: Vec<Crossing>,
}

/// The visits of the zones of a video.
#[derive(Serialize, ToSchema)]
pub(crate) struct Visits {
    #[serde(flatten)]
    analysis: Analysis,
    /// Every visit, in the order in which they ended.
    records: Vec<Visit>,
}

/// Analyses stored results again
///
/// With another threshold, tracker, lines, zones or alarm rules: nothing is decoded or detected
/// again, and nothing is stored, so `GET` does not list it. If some results are not stored any more, `complete` is false and
/// `missing_frames` says how many.
#[utoipa::path(
    post, path = "/videos/{id}/analyses", tag = "videos",
    params(("id" = VideoId, Path, description = "The video's id")),
    request_body = AnalysisRequest,
    responses(
        (status = 200, description = "What the results come to", body = Analysis),
        AnalysisErrors,
        (
            status = 422, description = "A field is invalid",
            content_type = "application/problem+json", body = crate::problem::ProblemBody
        ),
        VideoErrors
    )
)]
pub(crate) async fn analyse_video(
    State(state): State<SharedState>,
    id: Result<Path<String>, PathRejection>,
    request: Result<Json<serde_json::Map<String, serde_json::Value>>, JsonRejection>,
) -> Result<Json<Analysis>, Problem> {
    let Path(id) = id?;
    let invalid = |reason: &dyn std::fmt::Display| Problem::unprocessable(reason.to_string());
    let Json(fields) = request.map_err(|error| invalid(&error.body_text()))?;
    let request = serde_json::from_value(fields.clone().into()).map_err(|error| {
        let json = serde_json::Value::from(fields).to_string();
        invalid(&naming_field::<AnalysisRequest>(&json, error))
    })?;
    let AnalysisRequest { threshold, tracker, lines, zones, alarms } = request;
    if threshold.is_some_and(|threshold| !(0.0..=1.0).contains(&threshold)) {
        return Err(Problem::unprocessable("threshold must be 0 to 1"));
    }
    let video = find_video(&state, &id).await?.id;
    answer(&state, &video, &Question { threshold, tracker, lines, zones, alarms }).await.map(Json)
}

/// Lists the tracks of a video
///
/// Each is one object, from when it was first seen to when it was last seen. While the video is
/// analysed, those that have ended so far.
#[utoipa::path(
    get, path = "/videos/{id}/tracks", tag = "videos",
    params(("id" = VideoId, Path, description = "The video's id")),
    responses(
        (status = 200, description = "The tracks", body = Tracks),
        AnalysisErrors,
        VideoErrors
    )
)]
pub(crate) async fn list_tracks(
    State(state): State<SharedState>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Json<Tracks>, Problem> {
    let mut analysis = of_upload(&state, id).await?;
    Ok(Json(Tracks { records: std::mem::take(&mut analysis.track_records), analysis }))
}

/// Lists the crossings of lines
#[utoipa::path(
    get, path = "/videos/{id}/lines", tag = "videos",
    params(("id" = VideoId, Path, description = "The video's id")),
    responses(
        (status = 200, description = "The crossings", body = Crossings),
        AnalysisErrors,
        VideoErrors
    )
)]
pub(crate) async fn list_crossings(
    State(state): State<SharedState>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Json<Crossings>, Problem> {
    let mut analysis = of_upload(&state, id).await?;
    Ok(Json(Crossings { records: std::mem::take(&mut analysis.crossings), analysis }))
}

/// Lists the visits of zones
#[utoipa::path(
    get, path = "/videos/{id}/zones", tag = "videos",
    params(("id" = VideoId, Path, description = "The video's id")),
    responses(
        (status = 200, description = "The visits", body = Visits),
        AnalysisErrors,
        VideoErrors
    )
)]
pub(crate) async fn list_visits(
    State(state): State<SharedState>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Json<Visits>, Problem> {
    let mut analysis = of_upload(&state, id).await?;
    Ok(Json(Visits { records: std::mem::take(&mut analysis.visits), analysis }))
}

async fn of_upload(
    state: &ApiState,
    id: Result<Path<String>, PathRejection>,
) -> Result<Analysis, Problem> {
    let Path(id) = id?;
    let video = find_video(state, &id).await?.id;
    answer(state, &video, &Question::default()).await
}

/// Which object belongs to which track, by the rules of the upload. None of a video that has not
/// been started.
pub(crate) async fn track_numbers(
    state: &ApiState,
    video: &VideoId,
) -> Result<TrackNumbers, Problem> {
    let _permit = state.admit_analysis().await;
    let question = Question::default();
    match moliceiro_replay::track_numbers(&state.streams, video, &question).await {
        Err(ReplayError::Unknown(_)) => Ok(TrackNumbers::default()),
        other => other.map_err(problem),
    }
}

/// Few at once: each reads all results of its video.
async fn answer(
    state: &ApiState,
    video: &VideoId,
    question: &Question,
) -> Result<Analysis, Problem> {
    let _permit = state.admit_analysis().await;
    analyse(&state.streams, video, question).await.map_err(problem)
}

fn problem(error: ReplayError) -> Problem {
    match error {
        ReplayError::Unknown(_) => Problem::new(
            axum::http::StatusCode::CONFLICT,
            "nothing is counted yet: the video has not been started",
        ),
        ReplayError::Invalid(invalid) => invalid_field(&invalid),
        ReplayError::Video(error) => error.into(),
        other => Problem::unavailable(other),
    }
}

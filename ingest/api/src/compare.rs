//! The analyses of one video by several models, and how two of them differ.

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use moliceiro_nats::messages::{ModelId, VideoState};
use moliceiro_nats::videos::{CompareError, Comparison, RerunError};
use moliceiro_nats::{ModelsError, VideoId};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::problem::Problem;
use crate::responses::{CompareErrors, VideoErrors};
use crate::state::SharedState;
use crate::video::{Links, find_video};

/// All analyses of a video.
#[derive(Serialize, ToSchema)]
pub(crate) struct AnalysisList {
    /// The first is the video that was uploaded.
    analyses: Vec<Analysis>,
}

/// A video's analysis by one model: a video of its own.
#[derive(Serialize, ToSchema)]
pub(crate) struct Analysis {
    /// The video's id.
    id: VideoId,
    /// The model, with its version unless it is built in.
    model: ModelId,
    /// The video's state.
    state: VideoState,
    /// Where to query the video.
    links: Links,
}

/// Lists the analyses of a video
///
/// An upload that names several models gives one for each, and so does `moliceiro rerun`.
#[utoipa::path(
    get, path = "/videos/{id}/analyses", tag = "videos",
    params(("id" = VideoId, Path, description = "The id of any of them")),
    responses((status = 200, description = "The analyses", body = AnalysisList), VideoErrors)
)]
pub(crate) async fn list_analyses(
    State(state): State<SharedState>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Json<AnalysisList>, Problem> {
    let Path(id) = id?;
    let video = find_video(&state, &id).await?.id;
    let entries = state.streams.videos().analyses(&video).await?;
    let analyses = entries.into_iter().map(|entry| Analysis {
        links: Links::of(&entry.video),
        model: entry.started.model(),
        state: entry.state,
        id: entry.video,
    });
    Ok(Json(AnalysisList { analyses: analyses.collect() }))
}

/// Which models to compare.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ComparedModels {
    /// Two models, separated by a comma: names, or names with versions.
    #[param(pattern = "^[a-z0-9_-]{1,48}(@[1-9][0-9]{0,8})?,[a-z0-9_-]{1,48}(@[1-9][0-9]{0,8})?$")]
    models: String,
}

/// Compares two analyses of a video
///
/// For each class: how many objects each model found, and in how many frames the numbers differ.
#[utoipa::path(
    get, path = "/videos/{id}/compare", tag = "videos",
    params(("id" = VideoId, Path, description = "The id of any of them"), ComparedModels),
    responses(
        (status = 200, description = "How they differ", body = Comparison),
        VideoErrors,
        CompareErrors
    )
)]
pub(crate) async fn compare_analyses(
    State(state): State<SharedState>,
    id: Result<Path<String>, PathRejection>,
    models: Result<Query<ComparedModels>, QueryRejection>,
) -> Result<Json<Comparison>, Problem> {
    let Path(id) = id?;
    let Query(ComparedModels { models }) = models?;
    let invalid = || {
        Problem::unprocessable(format!("models must be two names, such as nanodet,boats: {models}"))
    };
    let (first, second) = models.split_once(',').ok_or_else(invalid)?;
    let first: ModelId = first.parse().map_err(|_| invalid())?;
    let second: ModelId = second.parse().map_err(|_| invalid())?;
    let video = find_video(&state, &id).await?.id;
    let compared = state.streams.videos().compare(&video, [&first, &second]).await;
    compared.map(Json).map_err(|error| match error {
        CompareError::Missing { .. } => Problem::new(StatusCode::NOT_FOUND, error.to_string()),
        CompareError::Unfinished { .. } => Problem::new(StatusCode::CONFLICT, error.to_string()),
        CompareError::Find(RerunError::Model(error @ ModelsError::Unknown { .. })) => {
            Problem::unprocessable(error.to_string())
        }
        CompareError::Find(_) | CompareError::Read(_) => Problem::unavailable(error),
    })
}

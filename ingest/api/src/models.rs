//! `/models`: the models that uploads can name.

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use moliceiro_nats::ModelsError;
use moliceiro_nats::messages::{AlarmRule, ModelDescription, ModelId, Tracking};
use serde::Serialize;
use utoipa::ToSchema;

use crate::options::{UploadOptions, invalid_field};
use crate::problem::Problem;
use crate::responses::{ModelErrors, RemoveModelErrors, RequestErrors};
use crate::state::{ApiState, SharedState};

/// All models.
#[derive(Serialize, ToSchema)]
pub(crate) struct ModelList {
    /// The built-in ones, then those that were added, by name and version.
    models: Vec<ModelDescription>,
}

/// What was removed.
#[derive(Serialize, ToSchema)]
pub(crate) struct RemovedModels {
    /// The versions.
    removed: Vec<ModelId>,
}

impl From<ModelsError> for Problem {
    fn from(error: ModelsError) -> Self {
        let status = match &error {
            ModelsError::Unknown { .. } => StatusCode::NOT_FOUND,
            ModelsError::InUse { .. } | ModelsError::Exists(_) => StatusCode::CONFLICT,
            ModelsError::BuiltIn(_) | ModelsError::Versioned(_) | ModelsError::Damaged { .. } => {
                StatusCode::UNPROCESSABLE_ENTITY
            }
            ModelsError::Full(_) => StatusCode::INSUFFICIENT_STORAGE,
            ModelsError::Unavailable(_) | ModelsError::File { .. } => {
                return Self::unavailable(error);
            }
        };
        Self::new(status, error.to_string())
    }
}

/// The version that an upload gets, if it names a model.
pub(crate) async fn version_of(
    state: &ApiState,
    model: Option<&ModelId>,
) -> Result<Option<ModelId>, Problem> {
    let Some(model) = model else { return Ok(None) };
    match state.streams.models.find(model).await {
        Ok(found) => Ok(Some(found.model)),
        // The upload is wrong, not its path.
        Err(error @ ModelsError::Unknown { .. }) => Err(Problem::unprocessable(error.to_string())),
        Err(error) => Err(error.into()),
    }
}

/// As [`version_of`], of models that analyse a video side by side; each once.
pub(crate) async fn versions_of(
    state: &ApiState,
    models: &[ModelId],
) -> Result<Vec<ModelId>, Problem> {
    let mut versions = Vec::with_capacity(models.len());
    for model in models {
        let version = version_of(state, Some(model)).await?;
        versions.extend(version.filter(|version| !versions.contains(version)));
    }
    Ok(versions)
}

/// Chooses the versions of the models that an upload names.
pub(crate) async fn resolve_models(
    state: &ApiState,
    options: &mut UploadOptions,
) -> Result<(), Problem> {
    options.model = version_of(state, options.model.as_ref()).await?;
    options.models = versions_of(state, &options.models).await?;
    Ok(())
}

/// As [`check_classes`], before the video's bytes are received.
pub(crate) async fn check_options(
    state: &ApiState,
    options: &UploadOptions,
) -> Result<(), Problem> {
    let UploadOptions { model, models, tracking, alarms, .. } = options;
    check_classes(state, model.as_ref(), models, tracking, alarms.as_deref()).await
}

/// Checks that the models of an upload have the classes that its lines, zones and rules name.
/// Accepts what cannot be known.
pub(crate) async fn check_classes(
    state: &ApiState,
    model: Option<&ModelId>,
    models: &[ModelId],
    tracking: &Tracking,
    alarms: Option<&[AlarmRule]>,
) -> Result<(), Problem> {
    let defaults = &state.defaults;
    let models = match (model, models, defaults.model.as_ref()) {
        (None, [], Some(default)) => std::slice::from_ref(default),
        (None, [], None) if !defaults.models.is_empty() => &defaults.models[..],
        (None, [], None) => std::slice::from_ref(&state.default_model),
        (None, several, _) => several,
        (Some(model), _, _) => std::slice::from_ref(model),
    };
    let known = match state.streams.models.labels(models).await {
        Ok(known) => known,
        // The setting `ingest.model` names it; the video will say so.
        Err(ModelsError::Unknown { .. }) => None,
        Err(error) => return Err(error.into()),
    };
    let Some(known) = known else { return Ok(()) };
    let checked = tracking.check_classes(alarms.unwrap_or_default(), &known);
    checked.map_err(|unknown| invalid_field(&unknown.into()))
}

/// Lists the models
#[utoipa::path(
    get, path = "/models", tag = "models",
    responses((status = 200, description = "All models", body = ModelList), RequestErrors)
)]
pub(crate) async fn list_models(
    State(state): State<SharedState>,
) -> Result<Json<ModelList>, Problem> {
    Ok(Json(ModelList { models: state.streams.models.list().await? }))
}

/// Shows a model
#[utoipa::path(
    get, path = "/models/{model}", tag = "models",
    params(("model" = ModelId, Path, description = "A name, or a name with a version")),
    responses(
        (status = 200, description = "The model; of a name, its latest version",
         body = ModelDescription),
        ModelErrors
    )
)]
pub(crate) async fn show_model(
    State(state): State<SharedState>,
    model: Result<Path<String>, PathRejection>,
) -> Result<Json<ModelDescription>, Problem> {
    let Path(model) = model?;
    Ok(Json(state.streams.models.find(&parsed(&model)?).await?))
}

/// Removes a version of a model, or all versions of a name
///
/// A model that unfinished videos need stays, and the answer names them.
#[utoipa::path(
    delete, path = "/models/{model}", tag = "models",
    params(("model" = ModelId, Path, description = "A name, or a name with a version")),
    responses(
        (status = 200, description = "The model is removed", body = RemovedModels),
        ModelErrors,
        RemoveModelErrors
    )
)]
pub(crate) async fn remove_model(
    State(state): State<SharedState>,
    model: Result<Path<String>, PathRejection>,
) -> Result<Json<RemovedModels>, Problem> {
    let Path(model) = model?;
    let removed = state.streams.models.remove(&state.streams, &parsed(&model)?).await?;
    Ok(Json(RemovedModels { removed }))
}

/// A text that cannot be a name is not one that exists.
fn parsed(model: &str) -> Result<ModelId, Problem> {
    model.parse().map_err(|_| {
        Problem::new(StatusCode::NOT_FOUND, "there is no such model; GET /models lists all")
    })
}

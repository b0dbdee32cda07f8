use moliceiro_nats::messages::RequestedSelection;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use crate::problem::Problem;

const MAX_EVERY: u64 = 1_000_000;

/// Which frames of a video to analyse: the OpenAPI description of [`RequestedSelection`], in a
/// query and in JSON.
#[derive(Deserialize, IntoParams, ToSchema)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "it only describes the parameters")]
pub(crate) struct SelectionOptions {
    /// Analyse every Nth frame only. Default: the setting `ingest.every`.
    #[param(minimum = 1, maximum = 1_000_000)]
    #[schema(minimum = 1, maximum = 1_000_000)]
    every: Option<u64>,
    /// Analyse about this many frames per second of the video only. Not together with `every`.
    #[param(minimum = 0.001, maximum = 1000)]
    #[schema(minimum = 0.001, maximum = 1000)]
    fps: Option<f64>,
    /// Analyse no frame before this time of the video, in seconds. Text such as `1m30s` is accepted
    /// too.
    #[param(minimum = 0, maximum = 3_162_240_000_u64)]
    #[schema(minimum = 0, maximum = 3_162_240_000_u64)]
    start: Option<f64>,
    /// Analyse no frame at or after this time of the video, in seconds.
    #[param(minimum = 0, maximum = 3_162_240_000_u64)]
    #[schema(minimum = 0, maximum = 3_162_240_000_u64)]
    end: Option<f64>,
    /// Analyse the Nth video track. Default: the one that the file marks, or the first.
    #[param(minimum = 1)]
    #[schema(minimum = 1)]
    video_track: Option<u32>,
}

/// Rejects values that are out of range or contradict each other.
pub(crate) fn check_selection(selection: &RequestedSelection) -> Result<(), Problem> {
    if let Err(invalid) = selection.check() {
        return Err(Problem::unprocessable(format!("{} {invalid}", invalid.field())));
    }
    if selection.every.is_some_and(|every| every > MAX_EVERY) {
        return Err(Problem::unprocessable(format!(
            "every must be 1 (every frame) to {MAX_EVERY}"
        )));
    }
    Ok(())
}

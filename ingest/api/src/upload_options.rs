use moliceiro_nats::messages::{Fps, Offset, Upload, selection_problem};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use crate::problem::Problem;

const MAX_EVERY: u64 = 1_000_000;

/// Which frames of a video to analyse: parameters of the query, and fields of the JSON.
#[derive(Clone, Debug, Default, Deserialize, IntoParams, ToSchema)]
#[into_params(parameter_in = Query)]
pub(crate) struct SelectionOptions {
    /// Analyse every Nth frame only. Default: the setting `ingest.every`.
    #[param(minimum = 1, maximum = 1_000_000)]
    #[schema(minimum = 1, maximum = 1_000_000)]
    every: Option<u64>,
    /// Analyse about this many frames per second of the video only. Not together with `every`.
    #[param(value_type = Option<f64>, minimum = 0.001, maximum = 1000)]
    #[schema(value_type = Option<f64>, minimum = 0.001, maximum = 1000)]
    fps: Option<Fps>,
    /// Analyse no frame before this time of the video, in seconds. Text such as `1m30s` is accepted
    /// too.
    #[param(value_type = Option<f64>, minimum = 0, maximum = 3_162_240_000_u64)]
    #[schema(value_type = Option<f64>, minimum = 0, maximum = 3_162_240_000_u64)]
    start: Option<Offset>,
    /// Analyse no frame at or after this time of the video, in seconds.
    #[param(value_type = Option<f64>, minimum = 0, maximum = 3_162_240_000_u64)]
    #[schema(value_type = Option<f64>, minimum = 0, maximum = 3_162_240_000_u64)]
    end: Option<Offset>,
}

impl SelectionOptions {
    /// The options of an upload that came as JSON.
    pub(crate) fn of(upload: &Upload) -> Self {
        let Upload { every, fps, start, end, .. } = *upload;
        Self { every, fps, start, end }
    }

    /// Rejects values that are out of range or contradict each other.
    pub(crate) fn checked(self) -> Result<Self, Problem> {
        if let Some((field, reason)) = selection_problem(self.every, self.fps, self.start, self.end)
        {
            return Err(Problem::unprocessable(format!("{field} {reason}")));
        }
        if self.every.is_some_and(|every| every > MAX_EVERY) {
            return Err(Problem::unprocessable(format!(
                "every must be 1 (every frame) to {MAX_EVERY}"
            )));
        }
        Ok(self)
    }

    /// The upload with these options.
    pub(crate) fn apply_to(self, upload: Upload) -> Upload {
        let Self { every, fps, start, end } = self;
        Upload { every, fps, start, end, ..upload }
    }
}

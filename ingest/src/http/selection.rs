//! Which frames are wanted of a video whose bytes a request brings.

use moliceiro_nats::messages::{Fps, Offset, RequestedSelection, Upload};
use serde::Deserialize;
use utoipa::IntoParams;

use super::problem::Problem;

const MOST_EVERY: u64 = 1_000_000;

/// How the videos are to be looked at.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Selection {
    /// Look at each how many-th frame only. Left out, the setting `ingest.every` holds.
    #[param(minimum = 1, maximum = 1_000_000)]
    every: Option<u64>,
    /// Look at about so many frames per second of the video only. Not together with `every`.
    #[param(value_type = Option<f64>, minimum = 0.001, maximum = 1000)]
    fps: Option<Fps>,
    /// Look at no frame before this time of the video, in seconds. Text such as `1m30s` is
    /// understood too.
    #[param(value_type = Option<f64>, minimum = 0, maximum = 3_162_240_000_u64)]
    start: Option<Offset>,
    /// Look at no frame at this time of the video or later, in seconds.
    #[param(value_type = Option<f64>, minimum = 0, maximum = 3_162_240_000_u64)]
    end: Option<Offset>,
}

impl Selection {
    pub(super) fn of(upload: &Upload) -> Self {
        let RequestedSelection { every, fps, start, end } = upload.selection;
        Self { every, fps, start, end }
    }

    /// What is asked for, if that can be.
    pub(super) fn checked(self) -> Result<Self, Problem> {
        if let Err(invalid) = self.requested().check() {
            return Err(Problem::unprocessable(format!("{} {invalid}", invalid.field())));
        }
        if self.every.is_some_and(|every| every > MOST_EVERY) {
            return Err(Problem::unprocessable(format!(
                "every must be 1 (each frame) to {MOST_EVERY}"
            )));
        }
        Ok(self)
    }

    /// The upload, with what is asked for.
    pub(super) fn on(self, upload: Upload) -> Upload {
        Upload { selection: self.requested(), ..upload }
    }

    fn requested(&self) -> RequestedSelection {
        let Self { every, fps, start, end } = *self;
        RequestedSelection { every, fps, start, end }
    }
}

use serde::{Deserialize, Serialize};

use super::{ModelId, Versioned};

/// What a detector did since it started, as JSON on `models.rates`, once a second. It is not stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DetectorRates {
    /// [`super::VERSION`]
    pub version: u8,
    /// The detector's name, as in results.
    pub detector: String,
    /// The frames that it analyses at the same time.
    pub sessions: u64,
    /// The models that it serves.
    pub models: Vec<ModelRate>,
    /// True in the last message: it takes no more frames.
    #[serde(default, skip_serializing_if = "is_false")]
    pub is_stopping: bool,
}

/// What a detector did for one model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelRate {
    /// The model.
    pub model: ModelId,
    /// Frames analysed.
    pub frames: u64,
    /// The seconds that the work on these frames took, without waiting; those of frames that were
    /// analysed at the same time are added.
    pub seconds: f64,
}

/// How much work waits for detectors, as JSON in the answer to a request on `models.work`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct QueuedWork {
    /// [`super::VERSION`]
    pub version: u8,
    /// Detectors that run.
    pub detectors: u64,
    /// The seconds that one detector would take for the frames of all models.
    pub detector_seconds: f64,
    /// Each model that frames were ever queued for.
    pub models: Vec<ModelWork>,
}

/// How much work waits for the detectors of one model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ModelWork {
    /// The model.
    pub model: ModelId,
    /// Frames in the queue, those that detectors have in flight included.
    pub frames: u64,
    /// Those of them that detectors have in flight.
    pub in_flight: u64,
    /// Detectors that serve it.
    pub detectors: u64,
    /// The frames that all of them finish in a second, over the last ten seconds.
    pub frames_per_second: f64,
    /// The frames that one of them could finish in a second; `null` until one has finished some.
    pub detector_frames_per_second: Option<f64>,
    /// Seconds of work in the queue at the present rate; `null` if frames wait and none are
    /// finished.
    pub seconds: Option<f64>,
    /// The seconds that one detector would take for these frames: divide by the seconds that they
    /// may wait, to get the number of detectors to run. As long as nobody knows how fast one is, 1
    /// if there are any.
    pub detector_seconds: f64,
}

impl Versioned for DetectorRates {
    fn version(&self) -> u8 {
        self.version
    }
}

impl Versioned for QueuedWork {
    fn version(&self) -> u8 {
        self.version
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde wants it")]
fn is_false(value: &bool) -> bool {
    !value
}

use serde::{Deserialize, Serialize};

use super::ModelId;
use crate::{Fit, Scaling, Size, Versioned};

/// What a service has to know about a model that it does not run, as JSON in the metadata of the
/// model's object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ModelDescription {
    /// [`VERSION`](crate::VERSION)
    pub version: u8,
    /// Its name, with a version unless it is built in.
    pub model: ModelId,
    /// SHA-256 of its ONNX file, in hexadecimal.
    pub digest: String,
    /// Length of its ONNX file.
    pub bytes: u64,
    /// The size of picture that it works best with.
    pub size: Size,
    /// It also takes every size whose sides are multiples of this, up to `size` in area. Left out:
    /// only `size`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub multiple_of: Option<u32>,
    /// How a frame is made into a picture of that size.
    #[serde(default = "letterbox")]
    pub fit: Fit,
    /// How pixels are scaled.
    #[serde(default)]
    pub scaling: Scaling,
    /// How many classes it knows.
    pub classes: u32,
    /// When it was added, in milliseconds since 1970-01-01 UTC. Left out: it is built in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub added_at: Option<u64>,
}

fn letterbox() -> Fit {
    Fit::Letterbox
}

impl Versioned for ModelDescription {
    fn version(&self) -> u8 {
        self.version
    }
}

impl ModelDescription {
    /// True if the model takes the pictures that such a fit makes.
    pub fn takes_fitted(&self, fit: Fit) -> bool {
        let divides = |multiple: u32| multiple > 0 && Fit::STEP.is_multiple_of(multiple);
        !fit.varies() || self.multiple_of.is_some_and(divides)
    }

    /// True if the model takes pictures of this size.
    pub fn takes(&self, size: Size) -> bool {
        let multiple = |side: u32| {
            self.multiple_of.is_some_and(|step| {
                step > 0 && side >= step && side <= Size::MAX_SIDE && side.is_multiple_of(step)
            })
        };
        size == self.size || (multiple(size.width) && multiple(size.height))
    }

    /// True if its pictures have some pixels, and not too many.
    pub fn has_valid_size(&self) -> bool {
        let sides = 1..=Size::MAX_SIDE;
        sides.contains(&self.size.width) && sides.contains(&self.size.height)
    }

    /// What the videos that it analyses say about it.
    pub fn used(&self) -> UsedModel {
        UsedModel { name: self.model.clone(), digest: self.digest.clone() }
    }
}

/// The model that a video keeps from its start to its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct UsedModel {
    /// Its name, with a version unless it is built in.
    pub name: ModelId,
    /// SHA-256 of its ONNX file, in hexadecimal.
    pub digest: String,
}

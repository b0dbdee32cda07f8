use serde::{Deserialize, Serialize};

/// How a frame's pixels become the fewer or more pixels of its picture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Scaling {
    /// Between the two nearest pixels in each direction, much as OpenCV and PyTorch do by default.
    Linear,
    /// The same, but a picture that becomes smaller has the mean of all the pixels that it covers,
    /// as Pillow does.
    Smooth,
    /// Lanczos' window over all pixels that it covers. It keeps most of what is small.
    #[default]
    Lanczos,
}

impl From<Scaling> for &str {
    fn from(scaling: Scaling) -> Self {
        match scaling {
            Scaling::Linear => "linear",
            Scaling::Smooth => "smooth",
            Scaling::Lanczos => "lanczos",
        }
    }
}

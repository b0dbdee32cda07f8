use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// How interlaced frames are analysed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Deinterlace {
    /// Each frame as it is at one moment.
    #[default]
    Auto,
    /// As stored: combed where something moves.
    Off,
    /// Each of the two fields as a frame of its own, so that there are twice as many.
    Fields,
}

/// Text that is not a [`Deinterlace`].
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("must be {}", Deinterlace::NAMES.join(", "))]
pub struct InvalidDeinterlace;

impl Deinterlace {
    /// How each is written.
    pub const NAMES: [&str; 3] = ["auto", "off", "fields"];
}

impl FromStr for Deinterlace {
    type Err = InvalidDeinterlace;

    fn from_str(text: &str) -> Result<Self, InvalidDeinterlace> {
        match text {
            "auto" => Ok(Self::Auto),
            "off" => Ok(Self::Off),
            "fields" => Ok(Self::Fields),
            _ => Err(InvalidDeinterlace),
        }
    }
}

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// How the objects of different frames are recognised as the same one.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum TrackerKind {
    /// ByteTrack: objects of low score continue tracks, and do not begin any.
    #[default]
    Bytetrack,
    /// OC-SORT: the way since an object was last seen is corrected when it is seen again.
    Ocsort,
    /// Nothing is tracked.
    None,
}

/// Text that is not a [`TrackerKind`].
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("must be {}", TrackerKind::NAMES.join(", "))]
pub struct InvalidTracker;

impl TrackerKind {
    /// How each is written.
    pub const NAMES: [&str; 3] = ["bytetrack", "ocsort", "none"];
}

impl fmt::Display for TrackerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bytetrack => "bytetrack",
            Self::Ocsort => "ocsort",
            Self::None => "none",
        })
    }
}

impl FromStr for TrackerKind {
    type Err = InvalidTracker;

    fn from_str(text: &str) -> Result<Self, InvalidTracker> {
        match text {
            "bytetrack" => Ok(Self::Bytetrack),
            "ocsort" => Ok(Self::Ocsort),
            "none" => Ok(Self::None),
            _ => Err(InvalidTracker),
        }
    }
}

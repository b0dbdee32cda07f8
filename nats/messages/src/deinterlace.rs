use serde::{Deserialize, Serialize};

/// How interlaced frames are analysed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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

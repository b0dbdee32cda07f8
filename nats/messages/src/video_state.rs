use std::fmt;

use serde::{Deserialize, Serialize};

/// Where a video is in its life.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    utoipa::ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum VideoState {
    /// It waits for an ingest.
    Queued,
    /// Frames are being decoded; some may already be counted.
    Decoding,
    /// All frames are decoded; some are not counted yet.
    Counting,
    /// Every frame is counted.
    Done,
    /// Every frame that was decoded is counted, but the video should have more.
    Incomplete,
    /// It did not have a frame to count.
    Failed,
    /// A client stopped it.
    Cancelled,
}

impl VideoState {
    /// Every state, in the order in which a video passes through them.
    pub const ALL: [Self; 7] = [
        Self::Queued,
        Self::Decoding,
        Self::Counting,
        Self::Done,
        Self::Incomplete,
        Self::Failed,
        Self::Cancelled,
    ];

    /// The states that a video never leaves.
    pub fn all_final() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|state| state.is_final())
    }

    /// As it is written in messages and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Decoding => "decoding",
            Self::Counting => "counting",
            Self::Done => "done",
            Self::Incomplete => "incomplete",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// True when nothing more will happen to the video.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Done | Self::Incomplete | Self::Failed | Self::Cancelled)
    }
}

/// Its [name](VideoState::name).
impl fmt::Display for VideoState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::VideoState;

    #[test]
    fn all_states_are_listed_under_the_names_that_messages_have() {
        let names = VideoState::ALL.map(|state| serde_json::to_value(state).unwrap());
        assert_eq!(names, VideoState::ALL.map(|state| state.name()));
        // The reader lists the names that it accepts: one that `ALL` lacks is among them.
        let error = serde_json::from_str::<VideoState>("\"\"").unwrap_err().to_string();
        assert_eq!(error.matches('`').count() / 2, VideoState::ALL.len() + 1, "{error}");
    }
}

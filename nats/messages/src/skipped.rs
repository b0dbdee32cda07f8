use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Frames of a video that were not analysed, by the reason. What is 0 is left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(from = "BTreeMap<String, u64>")]
pub struct Skipped {
    /// They differ so little from the analysed frame before them that they carry its objects.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub still: u64,
    /// `every` leaves them out.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub every: u64,
    /// `fps` leaves them out.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub fps: u64,
    /// They are shown before `start`. Frames from `end` on are not decoded, and not counted at all.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub before_start: u64,
    /// They need other frames to be decoded, and `key_frames` leaves such frames out.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub not_key: u64,
    /// The video was cancelled before they were analysed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub cancelled: u64,
    /// `every`, `fps` or `start` leaves them out: the video's end is not known well enough to say
    /// which.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unselected: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde wants it")]
fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// A reason of another release is ignored.
impl From<BTreeMap<String, u64>> for Skipped {
    fn from(by_reason: BTreeMap<String, u64>) -> Self {
        let of = |reason: &str| by_reason.get(reason).copied().unwrap_or(0);
        Self {
            still: of("still"),
            every: of("every"),
            fps: of("fps"),
            before_start: of("before_start"),
            not_key: of("not_key"),
            cancelled: of("cancelled"),
            unselected: of("unselected"),
        }
    }
}

impl Skipped {
    /// True if there are none.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// How many frames.
    pub fn total(&self) -> u64 {
        let Self { still, every, fps, before_start, not_key, cancelled, unselected } = *self;
        [still, every, fps, before_start, not_key, cancelled, unselected]
            .iter()
            .fold(0, |sum, n| sum.saturating_add(*n))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_reasons_that_apply_are_named() {
        let skipped = Skipped { still: 312, every: 3, ..Skipped::default() };
        assert_eq!(skipped.total(), 315);
        let all = r#"{"still":1,"every":2,"fps":3,"before_start":4,"not_key":5,"cancelled":6,"unselected":7}"#;
        let read: Skipped = serde_json::from_str(all).unwrap();
        assert_eq!((read.total(), serde_json::to_string(&read).unwrap().as_str()), (28, all));
        let json = serde_json::to_string(&skipped).unwrap();
        assert_eq!(json, r#"{"still":312,"every":3}"#);
        assert_eq!(serde_json::from_str::<Skipped>(&json).unwrap(), skipped);
        assert_eq!(serde_json::from_str::<Skipped>("{}").unwrap(), Skipped::default());
    }
}

use serde::{Deserialize, Serialize};

use super::{Size, Versioned};
use crate::VideoId;

/// A small picture of a frame, for people, as CBOR on `stills.<video>.<slot>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Thumbnail {
    /// [`super::VERSION`]
    pub version: u8,
    /// The video it belongs to.
    pub video: VideoId,
    /// The frame's index.
    pub index: u64,
    /// The frame's presentation time in nanoseconds.
    pub pts: Option<u64>,
    /// Size of the video's own upright frame, in whose pixels boxes are.
    pub source: Size,
    /// The whole frame as a small JPEG file (JFIF).
    #[serde(with = "serde_bytes")]
    pub jpeg: Vec<u8>,
}

impl Versioned for Thumbnail {
    fn version(&self) -> u8 {
        self.version
    }
}

/// The most thumbnails that a video has.
pub const STILLS: u8 = 16;

/// The slot of a video's `n`th analysed frame among its thumbnails, from 0; `None` if it is not
/// kept.
///
/// However long a video becomes, its thumbnails are spread over it: each time the slots are full,
/// the distance between kept frames doubles, and new ones replace those that are not multiples of
/// it. The same frame always has the same slot.
pub fn thumbnail_slot(n: u64) -> Option<u8> {
    const HALF: u64 = STILLS as u64 / 2;
    if n < 2 * HALF {
        return u8::try_from(n).ok();
    }
    let stride = (n / (2 * HALF) + 1).next_power_of_two();
    if !n.is_multiple_of(stride) {
        return None;
    }
    thumbnail_slot((2 * (n / stride - HALF) + 1) * (stride / 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thumbnails_are_spread_over_a_video_of_any_length() {
        let mut slots = [None; STILLS as usize];
        for n in 0..100_000 {
            if let Some(slot) = thumbnail_slot(n) {
                slots[usize::from(slot)] = Some(n);
            }
            let mut kept: Vec<u64> = slots.iter().copied().flatten().collect();
            kept.sort_unstable();
            assert_eq!(kept.len() as u64, (n + 1).min(16), "after {n}: {kept:?}");
            let widest = kept
                .windows(2)
                .map(|pair| pair[1] - pair[0])
                .chain([n - kept[kept.len() - 1]])
                .max()
                .unwrap_or(0);
            assert!(kept[0] == 0 && widest <= n / 8 + 1, "after {n}: {kept:?}");
        }
    }
}

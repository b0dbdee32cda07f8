use serde::{Deserialize, Serialize};

use super::{Size, Versioned};
use crate::VideoId;

/// A frame of a video that is kept to be looked at by people, as CBOR on `stills.<video>.<slot>`.
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
    /// Size of the video's own upright frame, which boxes are in.
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

/// How many stills a video has at most.
pub const STILLS: u8 = 8;

/// The place among a video's stills that its `n`-th frame takes, from 0; `None` if it is not kept.
///
/// However long a video becomes, the frames in all places are spread over it: when they are full,
/// only half as many frames are kept from there on, each in the place of one that is no longer a
/// multiple. The same frame always has the same place.
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
    fn stills_are_spread_over_a_video_of_any_length() {
        let mut slots = [None; STILLS as usize];
        for n in 0..100_000 {
            if let Some(slot) = thumbnail_slot(n) {
                slots[usize::from(slot)] = Some(n);
            }
            let mut kept: Vec<u64> = slots.iter().copied().flatten().collect();
            kept.sort_unstable();
            assert_eq!(kept.len() as u64, (n + 1).min(8), "after {n}: {kept:?}");
            let widest = kept
                .windows(2)
                .map(|pair| pair[1] - pair[0])
                .chain([n - kept[kept.len() - 1]])
                .max()
                .unwrap_or(0);
            assert!(kept[0] == 0 && widest <= n / 4 + 1, "after {n}: {kept:?}");
        }
    }
}

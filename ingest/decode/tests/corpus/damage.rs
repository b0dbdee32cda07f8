//! What happens to files on their way.

use std::path::Path;

/// A damage, the same for each run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    TruncatedAtHalf,
    TruncatedNearEnd,
    WithoutStart,
    BytesFlipped,
    Zeroed,
    BlocksLost,
    Appended,
    JunkBehind,
}

impl Damage {
    pub const ALL: &[Self] = &[
        Self::TruncatedAtHalf,
        Self::TruncatedNearEnd,
        Self::WithoutStart,
        Self::BytesFlipped,
        Self::Zeroed,
        Self::BlocksLost,
        Self::Appended,
        Self::JunkBehind,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::TruncatedAtHalf => "truncated-at-half",
            Self::TruncatedNearEnd => "truncated-near-end",
            Self::WithoutStart => "without-start",
            Self::BytesFlipped => "bytes-flipped",
            Self::Zeroed => "zeroed",
            Self::BlocksLost => "blocks-lost",
            Self::Appended => "appended",
            Self::JunkBehind => "junk-behind",
        }
    }

    /// Damages the file; `None` if it is too small for that.
    pub fn apply(self, file: &Path, seed: u64) -> Option<()> {
        let mut bytes = std::fs::read(file).ok()?;
        let length = bytes.len();
        let mut random = fastrand::Rng::with_seed(seed);
        match self {
            Self::TruncatedAtHalf => bytes.truncate(length / 2),
            Self::TruncatedNearEnd => bytes.truncate(length * 19 / 20),
            Self::WithoutStart => drop(bytes.drain(..length / 5)),
            Self::BytesFlipped => {
                for _ in 0..20 {
                    bytes[random.usize(length / 4..length)] ^= random.u8(1..);
                }
            }
            Self::Zeroed => bytes[length / 2..length / 2 + length / 50].fill(0),
            // The length of a transport stream's packet.
            Self::BlocksLost => {
                for _ in 0..5 {
                    let start = random.usize(bytes.len() / 4 / 188..bytes.len() / 188 - 1) * 188;
                    bytes.drain(start..start + 188);
                }
            }
            Self::Appended => bytes.extend_from_within(..),
            Self::JunkBehind => bytes.extend((0..1000).map(|_| random.u8(..))),
        }
        std::fs::write(file, bytes).ok()
    }
}

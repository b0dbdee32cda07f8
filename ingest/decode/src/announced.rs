use std::sync::{Arc, OnceLock};

/// What a container says of its video. It may lie: good for a progress bar, and for finding out
/// that something is missing.
#[derive(Clone, Debug, Default)]
pub struct Announced(Arc<Values>);

#[derive(Debug, Default)]
struct Values {
    duration: OnceLock<u64>,
    frame_rate: OnceLock<(u32, u32)>,
    frames: OnceLock<u64>,
}

impl Announced {
    /// Length of the whole, sound included, in nanoseconds.
    pub fn duration(&self) -> Option<u64> {
        self.0.duration.get().copied()
    }

    /// Frames per second, as numerator and denominator; none if they have no constant rate.
    pub fn frame_rate(&self) -> Option<(u32, u32)> {
        self.0.frame_rate.get().copied()
    }

    /// About how many frames there are.
    pub fn frames(&self) -> Option<u64> {
        const NANOSECONDS: u128 = 1_000_000_000;
        if let Some(frames) = self.0.frames.get() {
            return Some(*frames);
        }
        let (numerator, denominator) = self.frame_rate()?;
        let divisor =
            u128::from(denominator).checked_mul(NANOSECONDS).filter(|divisor| *divisor > 0)?;
        let frames = (u128::from(self.duration()?) * u128::from(numerator) + divisor / 2) / divisor;
        u64::try_from(frames).ok()
    }

    pub(super) fn set_duration(&self, nanoseconds: u64) {
        let _ = self.0.duration.set(nanoseconds);
    }

    pub(super) fn set_frames(&self, frames: u64) {
        let _ = self.0.frames.set(frames);
    }

    pub(super) fn set_frame_rate(&self, numerator: u32, denominator: u32) {
        if numerator > 0 && denominator > 0 {
            let _ = self.0.frame_rate.set((numerator, denominator));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_estimated_from_duration_and_rate() {
        let announced = Announced::default();
        assert_eq!(announced.frames(), None);
        announced.set_duration(4_004_000_000);
        announced.set_frame_rate(0, 1);
        assert_eq!(announced.frames(), None);
        announced.set_frame_rate(30_000, 1001);
        assert_eq!(announced.frames(), Some(120));
    }

    #[test]
    fn absurd_announcements_overflow_nothing() {
        let announced = Announced::default();
        announced.set_duration(u64::MAX);
        announced.set_frame_rate(u32::MAX, 1);
        assert_eq!(announced.frames(), None);
    }
}

use std::sync::{Arc, OnceLock};

/// What a container declares about its video. Clones share their values.
///
/// Containers can be wrong: use this for a progress bar, or to notice that frames are missing, and
/// for nothing else.
#[derive(Clone, Debug, Default)]
pub struct ContainerInfo(Arc<Values>);

#[derive(Debug, Default)]
struct Values {
    duration: OnceLock<u64>,
    frame_rate: OnceLock<(u32, u32)>,
    frames: OnceLock<u64>,
    pixels: OnceLock<u64>,
}

impl ContainerInfo {
    /// Duration of the whole, sound included, in nanoseconds.
    pub fn duration(&self) -> Option<u64> {
        self.0.duration.get().copied()
    }

    /// Frames per second, as numerator and denominator; `None` if the rate is not constant.
    pub fn frame_rate(&self) -> Option<(u32, u32)> {
        self.0.frame_rate.get().copied()
    }

    /// Number of frames: exact for a folder, otherwise an estimate from duration and rate.
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

    /// Number of frames, unless it can only be estimated.
    pub(crate) fn exact_frames(&self) -> Option<u64> {
        self.0.frames.get().copied()
    }

    /// Number of pixels of the first decoded frame.
    pub(crate) fn pixels(&self) -> Option<u64> {
        self.0.pixels.get().copied()
    }

    pub(crate) fn set_pixels(&self, pixels: u64) {
        self.0.pixels.get_or_init(|| pixels);
    }

    pub(crate) fn set_duration(&self, nanoseconds: u64) {
        self.0.duration.get_or_init(|| nanoseconds);
    }

    pub(crate) fn set_frames(&self, frames: u64) {
        self.0.frames.get_or_init(|| frames);
    }

    pub(crate) fn set_frame_rate(&self, numerator: u32, denominator: u32) {
        if numerator > 0 && denominator > 0 {
            self.0.frame_rate.get_or_init(|| (numerator, denominator));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_estimated_from_duration_and_rate() {
        let info = ContainerInfo::default();
        assert_eq!(info.frames(), None);
        info.set_duration(4_004_000_000);
        info.set_frame_rate(0, 1);
        assert_eq!(info.frames(), None);
        info.set_frame_rate(30_000, 1001);
        assert_eq!(info.frames(), Some(120));
    }

    #[test]
    fn absurd_values_do_not_overflow() {
        let info = ContainerInfo::default();
        info.set_duration(u64::MAX);
        info.set_frame_rate(u32::MAX, 1);
        assert_eq!(info.frames(), None);
    }
}

//! Seconds, from what frames say about their times.

use serde::{Deserialize, Serialize};

/// Frames per second of a video whose frames have no times.
pub(super) const ASSUMED_FPS: f64 = 25.0;

/// A time that never runs backwards, whatever frames say.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Clock {
    /// The last frame's index.
    index: Option<u64>,
    now: f64,
    /// What is added to the times of frames.
    offset: f64,
    /// The last analysed frame's time, and how long after the one before it came.
    analysed: Option<(f64, f64)>,
    /// True once a frame had no time.
    pub(super) assumed: bool,
    /// True before the first frame of another video.
    restarted: bool,
}

/// The time of a frame to analyse.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Tick {
    pub(super) now: f64,
    /// Since the analysed frame before; 0 for the first one.
    pub(super) step: f64,
    /// The shorter one of this step and the one before it, which is not a gap.
    pub(super) usual: f64,
}

impl Clock {
    pub(super) fn now(&self) -> f64 {
        self.now
    }

    /// A frame that is not analysed.
    pub(super) fn skip(&mut self, index: u64, pts: Option<u64>) {
        let frames = self.index.map_or(index, |last| index.saturating_sub(last)) as f64;
        let frame = self.analysed.map(|(_, step)| step).filter(|step| *step > 0.0);
        let assumed = match std::mem::take(&mut self.restarted) {
            true => self.now + frame.unwrap_or(1.0 / ASSUMED_FPS),
            false => self.now + frames / ASSUMED_FPS,
        };
        self.now = match pts {
            Some(ns) => {
                let time = ns as f64 / 1e9 + self.offset;
                if self.index.is_some() && time < self.now {
                    // It restarts, as the times of another window do.
                    self.offset += assumed.max(self.now) - time;
                    assumed.max(self.now)
                } else {
                    time
                }
            }
            None => assumed,
        };
        self.index = Some(index);
    }

    pub(super) fn tick(&mut self, index: u64, pts: Option<u64>) -> Tick {
        self.assumed |= pts.is_none();
        self.skip(index, pts);
        let now = self.now;
        let (step, usual) = match self.analysed {
            Some((last, before)) if before > 0.0 => (now - last, before.min(now - last)),
            Some((last, _)) => (now - last, now - last),
            None => (0.0, 0.0),
        };
        self.analysed = Some((now, step));
        Tick { now, step, usual }
    }

    /// The frames of another video follow.
    pub(super) fn restart(&mut self) {
        self.restarted = self.index.is_some();
        self.assumed = false;
    }
}

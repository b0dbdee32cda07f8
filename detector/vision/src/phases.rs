use std::time::{Duration, Instant};

/// How long each part of the work on a frame took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Phases {
    /// Reading the message, and decoding its JPEG if it is one.
    pub payload: Duration,
    /// From pixels to the model's input.
    pub tensor: Duration,
    /// The model.
    pub inference: Duration,
    /// From the model's output to objects.
    pub boxes: Duration,
}

impl Phases {
    /// The whole work.
    pub fn total(&self) -> Duration {
        self.payload + self.tensor + self.inference + self.boxes
    }
}

/// Tells the time since it was last asked.
pub struct Lap(Instant);

impl Lap {
    /// Starts the clock.
    pub fn begin() -> Self {
        Self(Instant::now())
    }

    /// The time since [`begin`](Self::begin) or the last call.
    pub fn take(&mut self) -> Duration {
        let now = Instant::now();
        now - std::mem::replace(&mut self.0, now)
    }
}

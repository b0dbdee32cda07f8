use std::time::{Duration, Instant};

/// How long each step of the work on a frame took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Phases {
    /// Parsing the message, and decoding its JPEG if it has one.
    pub payload: Duration,
    /// From pixels to the model's input.
    pub tensor: Duration,
    /// Running the model.
    pub inference: Duration,
    /// From the model's output to objects.
    pub boxes: Duration,
}

impl Phases {
    /// The time of all steps together.
    pub fn total(&self) -> Duration {
        self.payload + self.tensor + self.inference + self.boxes
    }
}

/// Measures the time from one step to the next.
pub struct Lap(Instant);

impl Lap {
    /// Starts the clock.
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// The time since [`start`](Self::start) or the last call.
    pub fn take(&mut self) -> Duration {
        let now = Instant::now();
        now - std::mem::replace(&mut self.0, now)
    }
}

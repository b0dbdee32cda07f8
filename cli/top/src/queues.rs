//! What the NATS server reports about streams and consumers.

use std::time::Duration;

/// How full a stream is.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct StreamLevel {
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
    /// The most bytes that it may hold; `None` if it has no limit.
    pub(crate) max_bytes: Option<u64>,
    /// Age of its oldest message; `None` if it is empty.
    pub(crate) oldest: Option<Duration>,
}

impl StreamLevel {
    /// Share of the limit in use, 0 to 1.
    pub(crate) fn share(&self) -> f64 {
        self.max_bytes.map_or(0.0, |limit| self.bytes as f64 / limit.max(1) as f64)
    }
}

/// One sample of all streams and consumers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Queues {
    pub(crate) frames: StreamLevel,
    /// Frames that one video may have in the queue.
    pub(crate) frames_per_video: Option<u64>,
    /// Frames published since the stream exists.
    pub(crate) frames_published: u64,
    /// Frames that the server has not delivered yet.
    pub(crate) frames_waiting: u64,
    /// Frames that detectors have and have not acknowledged yet.
    pub(crate) frames_in_flight: u64,
    /// Frames in the queue that were delivered more than once.
    pub(crate) redelivered: u64,
    /// Detectors that wait for a frame.
    pub(crate) pulls: u64,
    pub(crate) uploads_waiting: u64,
    pub(crate) uploads_in_flight: u64,
    /// Results that are not counted yet.
    pub(crate) results_waiting: u64,
    pub(crate) dead_letters: u64,
    pub(crate) last_alarm: Option<LastAlarm>,
}

#[derive(Clone, Debug)]
pub(crate) struct LastAlarm {
    pub(crate) video: String,
    pub(crate) age: Duration,
}

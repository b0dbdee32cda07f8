//! The faults that are injected, and their odds.

use std::time::Duration;

use fastrand::Rng;

/// A service's name without `moliceiro-`.
pub type Service = &'static str;

pub const SERVICES: [Service; 3] = ["ingest", "detector", "aggregator"];

#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// One of the service's processes is killed, and replaced.
    Kill(Service),
    /// One of them gets SIGTERM, and is replaced.
    Terminate(Service),
    /// The server is killed, and restarted on its store.
    KillServer,
    /// The server is unreachable.
    NetworkDown(Duration),
    /// The network has a latency (first value); connections are reset when it starts and ends.
    Latency(Duration, Duration),
    /// Every connection is reset.
    Reset,
    /// All detectors are stopped.
    NoDetectors(Duration),
    /// Uploads, frames and results are published twice.
    Twice(Duration),
    /// Invalid messages, and messages of unknown videos.
    InvalidMessages,
}

impl Fault {
    pub fn draw(random: &mut Rng) -> Self {
        let service = SERVICES[random.usize(..SERVICES.len())];
        let seconds =
            |random: &mut Rng, longest: u64| Duration::from_millis(random.u64(500..1000 * longest));
        match random.u8(..13) {
            0..=3 => Self::Kill(service),
            4 | 5 => Self::Terminate(service),
            6 => Self::KillServer,
            7 => Self::NetworkDown(seconds(random, 10)),
            8 => Self::Latency(Duration::from_millis(random.u64(10..200)), seconds(random, 15)),
            9 => Self::Reset,
            10 => Self::NoDetectors(seconds(random, 15)),
            11 => Self::Twice(seconds(random, 20)),
            _ => Self::InvalidMessages,
        }
    }
}

//! What may go wrong, and how it is done.

use std::time::Duration;

use fastrand::Rng;

/// A service's name, as in its program's.
pub type Service = &'static str;

pub const SERVICES: [Service; 3] = ["ingest", "detector", "aggregator"];

#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// One of the service's processes dies, and is started again.
    Kill(Service),
    /// One of them is told to end, and another takes its place.
    Terminate(Service),
    /// The server dies, and is started again on its store.
    KillServer,
    /// Nobody reaches the server.
    Cut(Duration),
    /// Every message takes longer, and connections are reset at its beginning and end.
    Latency(Duration, Duration),
    /// Every connection breaks.
    Reset,
    /// All detectors are stopped.
    NoDetectors(Duration),
    /// Uploads, frames and results come twice.
    Twice(Duration),
    /// Messages that mean nothing, or are of nobody's video.
    Nonsense,
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
            7 => Self::Cut(seconds(random, 10)),
            8 => Self::Latency(Duration::from_millis(random.u64(10..200)), seconds(random, 15)),
            9 => Self::Reset,
            10 => Self::NoDetectors(seconds(random, 15)),
            11 => Self::Twice(seconds(random, 20)),
            _ => Self::Nonsense,
        }
    }
}

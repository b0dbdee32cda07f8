//! Times that do not wrap around, and do not jump.

use super::header::PesHeader;

const WRAP: i64 = 1 << 33;
/// Times that jump by more than this, in units of 1/90,000 s, begin a new recording.
const JUMP: i64 = 10 * 90_000;
/// The same in a program stream, where a packet holds as many pictures as fit, and one has a time.
const LONG_JUMP: i64 = 60 * 90_000;
/// Decoding times may go back by this much: some encoders repeat or round them.
const BACK: i64 = 90_000 / 2;

/// Makes one timeline of the 33-bit times of a stream.
#[derive(Clone, Debug)]
pub(super) struct Clock {
    /// How far times of one recording are from each other.
    jump: i64,
    /// The last decoding time, as it stands in the stream and on the timeline.
    last: Option<(u64, i64)>,
    /// The distance of the last two decoding times.
    step: i64,
}

/// The times of a packet on the timeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Times {
    pub(super) decoded: i64,
    pub(super) shown: i64,
}

/// How decoding times continue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Continues {
    Steadily,
    Back,
    Ahead,
}

impl Clock {
    pub(super) const fn of_transport_stream() -> Self {
        Self { jump: JUMP, last: None, step: 0 }
    }

    pub(super) const fn of_program_stream() -> Self {
        Self { jump: LONG_JUMP, ..Self::of_transport_stream() }
    }

    /// How the next decoding time follows the last one.
    pub(super) fn continues(&self, decoded: u64) -> Continues {
        match self.last.map(|(last, _)| difference(decoded, last)) {
            Some(step) if step < -BACK => Continues::Back,
            Some(step) if step > self.jump => Continues::Ahead,
            _ => Continues::Steadily,
        }
    }

    /// The times of the next packet on the timeline.
    pub(super) fn place_packet(&mut self, header: &PesHeader) -> Option<Times> {
        let time = header.decoded()?;
        let decoded = self.place(time);
        let delay = header.pts.map_or(0, |pts| difference(pts, time));
        Some(Times { decoded, shown: decoded.saturating_add(delay) })
    }

    fn place(&mut self, decoded: u64) -> i64 {
        let placed = match self.last {
            None => 0,
            Some((last, placed)) => {
                let step = match self.continues(decoded) {
                    Continues::Steadily => difference(decoded, last),
                    Continues::Back | Continues::Ahead => self.step,
                };
                if step > 0 {
                    self.step = step;
                }
                placed.saturating_add(step)
            }
        };
        self.last = Some((decoded, placed));
        placed
    }
}

/// `time - since`, modulo 2³³, as the shortest way.
fn difference(time: u64, since: u64) -> i64 {
    #[expect(clippy::cast_possible_wrap, reason = "both have 33 bits")]
    let difference = (time as i64 - since as i64).rem_euclid(WRAP);
    if difference >= WRAP / 2 { difference - WRAP } else { difference }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_wrap_around_and_recordings_follow_each_other() {
        let mut clock = Clock::of_transport_stream();
        let last = (1 << 33) - 1800;
        let times = [last, last + 1800 - (1 << 33), 1800, 5400, 7200, 900_000_000, 900_001_800, 0];
        let placed = times.map(|time| clock.place(time));
        assert_eq!(placed, [0, 1800, 3600, 7200, 9000, 10_800, 12_600, 14_400]);
        assert_eq!(clock.continues(900_000), Continues::Steadily);
        assert_eq!(clock.continues(1_000_000), Continues::Ahead);
    }
}

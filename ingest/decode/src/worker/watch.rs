//! Notices a child that hangs, works without end, or takes too much memory.

use std::time::{Duration, Instant};

use rustix::param::{clock_ticks_per_second, page_size};
use rustix::process::Pid;

use crate::settings::DecodeSettings;

const INTERVAL: Duration = Duration::from_millis(100);
/// The child notices a stalled pipeline itself, and knows more about it: it comes first.
const GRACE: Duration = Duration::from_secs(5);
/// A container is read before its first frame is decoded, perhaps from a slow disk.
const READ_BYTES_PER_SECOND: u64 = 20_000_000;
/// Processor time of a frame, besides that for its pixels.
const FRAME: Duration = Duration::from_millis(50);
/// The slowest codec on the slowest machine takes less processor time per pixel.
const NANOSECONDS_PER_PIXEL: u64 = 2000;

/// What is wrong with a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Excess {
    /// No sign of life for the stall timeout and more.
    Silent,
    /// It used this much processor time, more than its frames explain.
    Busy(Duration),
    /// It takes more memory than it may.
    Memory,
}

/// What a child has used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Usage {
    processor: Duration,
    memory: u64,
}

pub(crate) struct Watch {
    pid: Pid,
    max_silence: Duration,
    max_memory: u64,
    heard: Instant,
    next: Instant,
    allowed: Duration,
    decoded: u64,
}

impl Watch {
    pub(crate) fn new(pid: Pid, settings: &DecodeSettings, file_bytes: u64) -> Self {
        let reading = Duration::from_secs(file_bytes / READ_BYTES_PER_SECOND);
        let max_silence = settings.stall_timeout + GRACE + reading;
        // It may have decoded pictures before this video.
        let used = usage(pid).unwrap_or_default().processor;
        let now = Instant::now();
        Self {
            pid,
            max_silence,
            max_memory: settings.max_memory,
            heard: now,
            next: now + INTERVAL,
            allowed: max_silence.saturating_add(used),
            decoded: 0,
        }
    }

    /// A message has arrived, or was passed on after a wait for the consumer.
    pub(crate) fn heard(&mut self) {
        self.heard = Instant::now();
    }

    /// So many frames are decoded, each of so many pixels.
    pub(crate) fn decoded(&mut self, frames: u64, pixels: u64) {
        let more = frames.saturating_sub(self.decoded);
        self.decoded = self.decoded.max(frames);
        let pixels = Duration::from_nanos(pixels.saturating_mul(NANOSECONDS_PER_PIXEL));
        let frame = FRAME.saturating_add(pixels);
        self.allowed = self
            .allowed
            .saturating_add(frame.saturating_mul(u32::try_from(more).unwrap_or(u32::MAX)));
    }

    /// Call this often: it does little most times, and returns false.
    pub(crate) fn check(&mut self) -> Result<bool, Excess> {
        let now = Instant::now();
        if now < self.next {
            return Ok(false);
        }
        self.next = now + INTERVAL;
        let Usage { processor, memory } = usage(self.pid).unwrap_or_default();
        match () {
            () if memory > self.max_memory => Err(Excess::Memory),
            () if processor > self.allowed => Err(Excess::Busy(processor)),
            () if now - self.heard > self.max_silence => Err(Excess::Silent),
            () => Ok(true),
        }
    }
}

/// Time until the next check is due.
pub(crate) const fn interval() -> Duration {
    INTERVAL
}

/// Memory that a process has now, in bytes.
pub(crate) fn memory(pid: Pid) -> Option<u64> {
    usage(pid).map(|usage| usage.memory)
}

fn usage(pid: Pid) -> Option<Usage> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    parse(&stat, clock_ticks_per_second(), page_size() as u64)
}

/// proc_pid_stat(5). The name in parentheses may contain anything.
fn parse(stat: &str, ticks: u64, page: u64) -> Option<Usage> {
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    // The first of these fields is number 3 of the manual.
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    let processor = field(14)?.checked_add(field(15)?)?.checked_mul(1000)? / ticks.max(1);
    let memory = field(24)?.checked_mul(page)?;
    Some(Usage { processor: Duration::from_millis(processor), memory })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_is_read_whatever_the_process_is_called() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 9 0 0 0 150 50 0 0 20 0 3 0 99 4096000 25 1 2";
        let expected = Usage { processor: Duration::from_secs(2), memory: 25 * 4096 };
        assert_eq!(parse(stat, 100, 4096), Some(expected));
        assert_eq!(parse("7 (a) S 1", 100, 4096), None);
        assert!(usage(rustix::process::getpid()).unwrap().memory > 0);
    }

    #[test]
    fn more_frames_and_larger_ones_may_take_longer() {
        let settings = DecodeSettings::new(moliceiro_messages::Size { width: 64, height: 64 });
        let mut watch = Watch::new(rustix::process::getpid(), &settings, 0);
        let start = watch.allowed;
        watch.decoded(10, 1_000_000);
        assert_eq!(watch.allowed - start, Duration::from_millis(20_500));
        watch.decoded(10, 1_000_000);
        assert_eq!(watch.allowed - start, Duration::from_millis(20_500));
        watch.decoded(u64::MAX, u64::MAX);
    }
}

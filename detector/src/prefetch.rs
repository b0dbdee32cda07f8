use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A detector that stops has 20 s for what it has in flight. What is left then is charged a
/// delivery.
const FINISHED_WITHIN: Duration = Duration::from_secs(10);
/// One that is analysed, and one that is ready.
const LEAST_PER_SESSION: u32 = 2;

/// Bounds the frames in flight, and how many more may be asked for.
///
/// If the process dies, each frame in flight has lost one of its deliveries. So a frame that may be
/// deadly must be the only one in flight. Prefetch is therefore restricted to one frame after the
/// start, which may be a restart, and after a redelivered frame. It grows back to the limit once a
/// frame at its first delivery has been handled. The limit is lower for a slow model, so that a
/// detector that is stopped can finish what it has.
pub(crate) struct Prefetch {
    permits: Arc<Semaphore>,
    limit: u32,
    sessions: u32,
    restricted: AtomicBool,
}

/// Permission for some frames to be in flight, returned when dropped.
pub(crate) type Permits = OwnedSemaphorePermit;

impl Prefetch {
    pub fn new(sessions: u32, per_session: u32) -> Self {
        let limit = sessions * per_session;
        Self {
            permits: Arc::new(Semaphore::new(limit as usize)),
            limit,
            sessions,
            restricted: AtomicBool::new(true),
        }
    }

    /// Waits until at least one permit is free, and takes all free ones: as many frames may be
    /// asked for. While restricted, waits until nothing is in flight, and takes a single permit.
    /// `frame_time`: what a session takes for a frame.
    pub async fn acquire(&self, frame_time: Duration) -> Permits {
        if self.restricted.load(Ordering::Relaxed) {
            let mut all = self.acquire_all().await;
            return all.split(1).unwrap_or(all);
        }
        let spare = self.limit - self.bound(frame_time);
        let mut free = acquire(&self.permits, spare + 1).await;
        while let Ok(permit) = self.permits.clone().try_acquire_owned() {
            free.merge(permit);
        }
        drop(free.split(spare as usize));
        free
    }

    /// How many frames may be in flight so that all are finished in time.
    fn bound(&self, frame_time: Duration) -> u32 {
        let per_session = FINISHED_WITHIN.as_micros() / frame_time.as_micros().max(1);
        let per_session = u32::try_from(per_session).unwrap_or(u32::MAX).max(LEAST_PER_SESSION);
        self.sessions.saturating_mul(per_session).min(self.limit)
    }

    /// Waits until nothing is in flight, and takes all permits.
    pub async fn acquire_all(&self) -> Permits {
        acquire(&self.permits, self.limit).await
    }

    /// Lifts the restriction: a frame at its first delivery was handled, and the process lives.
    pub fn grow(&self) {
        self.restricted.store(false, Ordering::Relaxed);
    }

    /// Restricts to one frame: a frame was redelivered, and may have killed the detector that had
    /// it.
    pub fn restrict(&self) {
        self.restricted.store(true, Ordering::Relaxed);
    }
}

async fn acquire(permits: &Arc<Semaphore>, n: u32) -> Permits {
    #[expect(clippy::expect_used, reason = "the semaphore is never closed")]
    permits.clone().acquire_many_owned(n).await.expect("the semaphore is open")
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    const FAST: Duration = Duration::from_millis(10);

    /// How many permits are free at once, if any.
    fn acquire_now(prefetch: &Prefetch) -> Option<usize> {
        prefetch.acquire(FAST).now_or_never().map(|permits| permits.num_permits())
    }

    #[test]
    fn after_the_start_one_frame_is_in_flight_until_prefetch_grows() {
        let prefetch = Prefetch::new(2, 4);
        let first = prefetch.acquire(FAST).now_or_never().expect("nothing is in flight");
        assert_eq!(first.num_permits(), 1);
        assert_eq!(acquire_now(&prefetch), None, "one frame is in flight");
        prefetch.grow();
        assert_eq!(acquire_now(&prefetch), Some(7));
        drop(first);
        assert_eq!(acquire_now(&prefetch), Some(8));
    }

    #[test]
    fn after_a_redelivered_frame_one_frame_is_in_flight_again() {
        let prefetch = Prefetch::new(1, 4);
        prefetch.grow();
        let mut in_flight = prefetch.acquire(FAST).now_or_never().expect("all permits are free");
        assert!(prefetch.acquire_all().now_or_never().is_none(), "frames are in flight");
        let one = in_flight.split(1);
        drop(in_flight);
        prefetch.restrict();
        assert_eq!(acquire_now(&prefetch), None, "one frame is still in flight");
        drop(one);
        assert_eq!(acquire_now(&prefetch), Some(1));
    }
    #[test]
    fn of_a_slow_model_so_many_frames_are_in_flight_as_end_in_time() {
        let prefetch = Prefetch::new(2, 6);
        prefetch.grow();
        for (seconds, frames) in [(1, 12), (2, 10), (4, 4), (60, 4)] {
            let permits = prefetch.acquire(Duration::from_secs(seconds)).now_or_never();
            assert_eq!(permits.map(|of| of.num_permits()), Some(frames), "{seconds} s");
        }
        let slow = Duration::from_secs(4);
        let mut in_flight = prefetch.acquire(slow).now_or_never().expect("nothing is in flight");
        assert!(prefetch.acquire(slow).now_or_never().is_none(), "four are in flight");
        drop(in_flight.split(3));
        let more = prefetch.acquire(slow).now_or_never().expect("one is in flight");
        assert_eq!(more.num_permits(), 3);
    }
}

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bounds the frames in flight, and how many more may be asked for.
///
/// If the process dies, each frame in flight has lost one of its deliveries. So a frame that may be
/// deadly must be the only one in flight. Prefetch is therefore restricted to one frame after the
/// start, which may be a restart, and after a redelivered frame. It grows back to the limit once a
/// frame at its first delivery has been handled.
pub(crate) struct Prefetch {
    permits: Arc<Semaphore>,
    limit: u32,
    restricted: AtomicBool,
}

/// Permission for some frames to be in flight, returned when dropped.
pub(crate) type Permits = OwnedSemaphorePermit;

impl Prefetch {
    pub fn new(limit: u32) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(limit as usize)),
            limit,
            restricted: AtomicBool::new(true),
        }
    }

    /// Waits until at least one permit is free, and takes all free ones: as many frames may be
    /// asked for. While restricted, waits until nothing is in flight, and takes a single permit.
    pub async fn acquire(&self) -> Permits {
        if self.restricted.load(Ordering::Relaxed) {
            let mut all = self.acquire_all().await;
            return all.split(1).unwrap_or(all);
        }
        let mut free = acquire(&self.permits, 1).await;
        while let Ok(permit) = self.permits.clone().try_acquire_owned() {
            free.merge(permit);
        }
        free
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

    /// How many permits are free at once, if any.
    fn acquire_now(prefetch: &Prefetch) -> Option<usize> {
        prefetch.acquire().now_or_never().map(|permits| permits.num_permits())
    }

    #[test]
    fn after_the_start_one_frame_is_in_flight_until_prefetch_grows() {
        let prefetch = Prefetch::new(8);
        let first = prefetch.acquire().now_or_never().expect("nothing is in flight");
        assert_eq!(first.num_permits(), 1);
        assert_eq!(acquire_now(&prefetch), None, "one frame is in flight");
        prefetch.grow();
        assert_eq!(acquire_now(&prefetch), Some(7));
        drop(first);
        assert_eq!(acquire_now(&prefetch), Some(8));
    }

    #[test]
    fn after_a_redelivered_frame_one_frame_is_in_flight_again() {
        let prefetch = Prefetch::new(4);
        prefetch.grow();
        let mut in_flight = prefetch.acquire().now_or_never().expect("all permits are free");
        assert!(prefetch.acquire_all().now_or_never().is_none(), "frames are in flight");
        let one = in_flight.split(1);
        drop(in_flight);
        prefetch.restrict();
        assert_eq!(acquire_now(&prefetch), None, "one frame is still in flight");
        drop(one);
        assert_eq!(acquire_now(&prefetch), Some(1));
    }
}

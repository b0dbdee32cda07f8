use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The frames that a detector has in hand at once, and how many it may ask for.
///
/// If the process dies, each frame in hand has lost one of its deliveries. So where a frame may be
/// deadly, it is the only one: after the start, which may be a restart, and after a frame that came
/// again, frames are asked for one by one, until one has been looked at that came for the first
/// time.
pub(crate) struct Hand {
    places: Arc<Semaphore>,
    most: u32,
    one_by_one: AtomicBool,
}

/// Room in the hand for some frames, free again when dropped.
pub(crate) type Places = OwnedSemaphorePermit;

impl Hand {
    pub fn new(most: u32) -> Self {
        Self {
            places: Arc::new(Semaphore::new(most as usize)),
            most,
            one_by_one: AtomicBool::new(true),
        }
    }

    /// Waits for a free place, and takes all that are free: as many frames may be asked for. One by
    /// one, waits until nothing is in hand, and takes a single place.
    pub async fn free(&self) -> Places {
        if self.one_by_one.load(Ordering::Relaxed) {
            let mut all = self.all().await;
            return all.split(1).unwrap_or(all);
        }
        let mut free = acquire(&self.places, 1).await;
        while let Ok(place) = self.places.clone().try_acquire_owned() {
            free.merge(place);
        }
        free
    }

    /// Waits until nothing is in hand, and takes the whole hand.
    pub async fn all(&self) -> Places {
        acquire(&self.places, self.most).await
    }

    /// A frame that came for the first time was looked at, and the process lives.
    pub fn trust(&self) {
        self.one_by_one.store(false, Ordering::Relaxed);
    }

    /// A frame came again: whoever had it may have died of it.
    pub fn distrust(&self) {
        self.one_by_one.store(true, Ordering::Relaxed);
    }
}

async fn acquire(places: &Arc<Semaphore>, n: u32) -> Places {
    #[expect(clippy::expect_used, reason = "nobody closes it")]
    places.clone().acquire_many_owned(n).await.expect("the semaphore is open")
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn after_the_start_frames_come_one_by_one_until_one_is_trusted() {
        let hand = Hand::new(8);
        let first = hand.free().now_or_never().expect("nothing is in hand");
        assert_eq!(first.num_permits(), 1);
        assert!(hand.free().now_or_never().is_none(), "one is in hand");
        hand.trust();
        assert_eq!(hand.free().now_or_never().map(|free| free.num_permits()), Some(7));
        drop(first);
        assert_eq!(hand.free().now_or_never().map(|free| free.num_permits()), Some(8));
    }

    #[test]
    fn after_a_frame_that_came_again_they_come_one_by_one_again() {
        let hand = Hand::new(4);
        hand.trust();
        let mut in_hand = hand.free().now_or_never().expect("all is free");
        assert!(hand.all().now_or_never().is_none(), "frames are in hand");
        let one = in_hand.split(1);
        drop(in_hand);
        hand.distrust();
        assert!(hand.free().now_or_never().is_none(), "one is in hand still");
        drop(one);
        assert_eq!(hand.free().now_or_never().map(|free| free.num_permits()), Some(1));
    }
}

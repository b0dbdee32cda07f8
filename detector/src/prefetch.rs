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
///
/// A frame that is analysed leaves room for another one. It is in flight until its result is
/// stored.
pub(crate) struct Prefetch {
    slots: Arc<Semaphore>,
    limit: u32,
    unsettled: Arc<Semaphore>,
    most_unsettled: u32,
    sessions: u32,
    restricted: AtomicBool,
}

/// Permission for some frames to be in flight, returned when dropped.
pub(crate) struct Permits {
    slots: Slots,
    unsettled: OwnedSemaphorePermit,
}

/// Room for frames that are not analysed yet, returned when dropped.
pub(crate) type Slots = OwnedSemaphorePermit;

impl Permits {
    /// For so many frames.
    pub fn frames(&self) -> usize {
        self.slots.num_permits()
    }

    /// Permission for one of them; `None` if there is none left.
    pub fn take_one(&mut self) -> Option<Self> {
        Some(Self { slots: self.slots.split(1)?, unsettled: self.unsettled.split(1)? })
    }

    /// Room for a frame until it is analysed, and its permission to be in flight after that.
    pub fn into_parts(self) -> (Slots, OwnedSemaphorePermit) {
        (self.slots, self.unsettled)
    }
}

impl Prefetch {
    /// `held`: results that may wait beside the frames of all sessions.
    pub fn new(sessions: u32, per_session: u32, held: u32) -> Self {
        let limit = sessions * per_session;
        let most_unsettled = limit + held;
        Self {
            slots: Arc::new(Semaphore::new(limit as usize)),
            limit,
            unsettled: Arc::new(Semaphore::new(most_unsettled as usize)),
            most_unsettled,
            sessions,
            restricted: AtomicBool::new(true),
        }
    }

    /// Waits until there is room for a frame, or for half as many as may wait or be analysed if
    /// `several` are to be asked for, and takes all of it. While restricted, waits until nothing is
    /// in flight, and takes a single permit. `frame_time`: what a session takes for a frame.
    pub async fn acquire(&self, frame_time: Duration, several: bool) -> Permits {
        if self.restricted.load(Ordering::Relaxed) {
            let mut all = self.acquire_all().await;
            return all.take_one().unwrap_or(all);
        }
        let bound = self.bound(frame_time);
        let spare = self.limit - bound;
        // Several frames cost the server little more than one.
        let least = if several { bound.div_ceil(2) } else { 1 };
        let mut slots = acquire(&self.slots, spare + least).await;
        while let Ok(slot) = self.slots.clone().try_acquire_owned() {
            slots.merge(slot);
        }
        drop(slots.split(spare as usize));
        let frames = u32::try_from(slots.num_permits()).unwrap_or(self.limit);
        Permits { slots, unsettled: acquire(&self.unsettled, frames).await }
    }

    /// How many frames may be waiting or analysed so that all are finished in time.
    fn bound(&self, frame_time: Duration) -> u32 {
        let per_session = FINISHED_WITHIN.as_micros() / frame_time.as_micros().max(1);
        let per_session = u32::try_from(per_session).unwrap_or(u32::MAX).max(LEAST_PER_SESSION);
        self.sessions.saturating_mul(per_session).min(self.limit)
    }

    /// Waits until nothing is in flight, and takes all permits.
    pub async fn acquire_all(&self) -> Permits {
        let slots = acquire(&self.slots, self.limit).await;
        Permits { slots, unsettled: acquire(&self.unsettled, self.most_unsettled).await }
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

async fn acquire(permits: &Arc<Semaphore>, n: u32) -> OwnedSemaphorePermit {
    #[expect(clippy::expect_used, reason = "the semaphore is never closed")]
    permits.clone().acquire_many_owned(n).await.expect("the semaphore is open")
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    const FAST: Duration = Duration::from_millis(10);

    /// How many frames may be asked for at once, if any.
    fn acquire_now(prefetch: &Prefetch) -> Option<usize> {
        prefetch.acquire(FAST, true).now_or_never().map(|permits| permits.frames())
    }

    #[test]
    fn after_the_start_one_frame_is_in_flight_until_prefetch_grows() {
        let prefetch = Prefetch::new(2, 4, 8);
        let first = prefetch.acquire(FAST, true).now_or_never().expect("nothing is in flight");
        assert_eq!(first.frames(), 1);
        assert_eq!(acquire_now(&prefetch), None, "one frame is in flight");
        prefetch.grow();
        assert_eq!(acquire_now(&prefetch), Some(7));
        drop(first);
        assert_eq!(acquire_now(&prefetch), Some(8));
    }

    #[test]
    fn after_a_redelivered_frame_one_frame_is_in_flight_again() {
        let prefetch = Prefetch::new(1, 4, 8);
        prefetch.grow();
        let mut in_flight =
            prefetch.acquire(FAST, true).now_or_never().expect("all permits are free");
        assert!(prefetch.acquire_all().now_or_never().is_none(), "frames are in flight");
        let one = in_flight.take_one().expect("there are four");
        drop(in_flight);
        prefetch.restrict();
        assert_eq!(acquire_now(&prefetch), None, "one frame is still in flight");
        let (slot, unsettled) = one.into_parts();
        drop(slot);
        assert_eq!(acquire_now(&prefetch), None, "its result is not stored");
        drop(unsettled);
        assert_eq!(acquire_now(&prefetch), Some(1));
    }

    #[test]
    fn frames_are_asked_for_when_there_is_room_for_half_of_them() {
        let prefetch = Prefetch::new(2, 4, 3);
        prefetch.grow();
        let mut frames = prefetch.acquire(FAST, true).now_or_never().expect("all permits are free");
        let mut analyse = || frames.take_one().expect("there are eight").into_parts().1;
        let mut results = vec![analyse(), analyse(), analyse()];
        assert_eq!(acquire_now(&prefetch), None, "five frames wait");
        let room = prefetch.acquire(FAST, false).now_or_never().map(|permits| permits.frames());
        assert_eq!(room, Some(3));
        results.push(analyse());
        assert_eq!(acquire_now(&prefetch), None, "four results are held");
        results.truncate(3);
        assert_eq!(acquire_now(&prefetch), Some(4));
    }

    #[test]
    fn of_a_slow_model_so_many_frames_are_in_flight_as_end_in_time() {
        let prefetch = Prefetch::new(2, 6, 8);
        prefetch.grow();
        for (seconds, frames) in [(1, 12), (2, 10), (4, 4), (60, 4)] {
            let permits = prefetch.acquire(Duration::from_secs(seconds), true).now_or_never();
            assert_eq!(permits.map(|of| of.frames()), Some(frames), "{seconds} s");
        }
        let slow = Duration::from_secs(4);
        let mut in_flight =
            prefetch.acquire(slow, true).now_or_never().expect("nothing is in flight");
        assert!(prefetch.acquire(slow, true).now_or_never().is_none(), "four are in flight");
        let first = in_flight.take_one();
        assert!(prefetch.acquire(slow, true).now_or_never().is_none(), "four are in flight");
        drop((in_flight.take_one(), in_flight.take_one()));
        let more = prefetch.acquire(slow, true).now_or_never().expect("two are in flight");
        assert_eq!(more.frames(), 2);
        drop(first);
    }
}

//! Results that are stored together: the server and this process wake up once for all of them.

use std::ops::RangeInclusive;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

/// A result may be held for this part of the time that its frame took until then.
const SHARE_OF_AGE: u32 = 8;

/// Holds a result back for a moment while other frames are being analysed.
///
/// A result after a pause, and the last one of all frames in flight, are stored at once: so nothing
/// is later than it would be on its own by more than the linger.
pub(crate) struct Gathering {
    /// So many results are not held any longer.
    most: usize,
    /// Since results were last released, others are held for so long: the shortest and the longest
    /// time, by the age of their frames.
    linger: RangeInclusive<Duration>,
    state: Mutex<State>,
    released: Notify,
}

struct State {
    /// Frames whose result is still to come.
    analysing: usize,
    /// Results that wait.
    held: usize,
    last_release: Instant,
}

/// A frame that is being analysed. Without a result it just ends.
pub(crate) struct Analysing<'a>(&'a Gathering);

impl Gathering {
    pub fn new(most: usize, linger: RangeInclusive<Duration>) -> Self {
        let state = State { analysing: 0, held: 0, last_release: Instant::now() };
        Self { most, linger, state: Mutex::new(state), released: Notify::new() }
    }

    pub fn analysing(&self) -> Analysing<'_> {
        self.state().analysing += 1;
        Analysing(self)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn release(&self, state: &mut State) {
        state.held = 0;
        state.last_release = Instant::now();
        self.released.notify_waiters();
    }
}

impl Analysing<'_> {
    /// The frame's result is there, so long after the frame was decoded: returns when it is to be
    /// stored.
    pub async fn gather(self, age: Duration) {
        let gathering = self.0;
        let linger = (age / SHARE_OF_AGE).clamp(*gathering.linger.start(), *gathering.linger.end());
        // A release from here on counts, even before it is first polled.
        let released = gathering.released.notified();
        let deadline = {
            let mut state = gathering.state();
            state.held += 1;
            state.last_release + linger
        };
        drop(self);
        if timeout_at(deadline, released).await.is_err() {
            gathering.release(&mut gathering.state());
        }
    }
}

impl Drop for Analysing<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.analysing -= 1;
        let enough = state.held >= self.0.most || state.analysing == 0;
        if state.held > 0 && enough {
            self.0.release(&mut state);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    const LONG: Duration = Duration::from_secs(3600);

    #[tokio::test]
    async fn a_result_after_a_pause_is_stored_at_once_and_later_ones_together() {
        let gathering = Gathering::new(8, LONG..=LONG);
        let _another = gathering.analysing();
        let mut first = Box::pin(gathering.analysing().gather(LONG));
        assert!((&mut first).now_or_never().is_none(), "another frame is being analysed");
        gathering.state().last_release -= 2 * LONG;
        assert!(gathering.analysing().gather(LONG).now_or_never().is_some(), "after a pause");
        assert!(first.now_or_never().is_some(), "with the other one");

        let mut second = Box::pin(gathering.analysing().gather(LONG));
        let mut third = Box::pin(gathering.analysing().gather(LONG));
        assert!((&mut second).now_or_never().is_none(), "another frame is being analysed");
        assert!((&mut third).now_or_never().is_none(), "another frame is being analysed");
        gathering.release(&mut gathering.state());
        assert!(second.now_or_never().is_some());
        assert!(third.now_or_never().is_some());
    }

    #[tokio::test]
    async fn a_result_waits_for_another_frame_no_longer_than_the_linger() {
        let short = Duration::from_millis(10);
        let gathering = Gathering::new(8, short..=short);
        let _another = gathering.analysing();
        gathering.analysing().gather(LONG).await;
        gathering.analysing().gather(LONG).await;
    }

    #[tokio::test]
    async fn a_result_of_a_young_frame_does_not_wait_as_one_of_an_old_frame_may() {
        let gathering = Gathering::new(8, Duration::from_millis(10)..=LONG);
        let _another = gathering.analysing();
        let mut old = Box::pin(gathering.analysing().gather(2 * LONG));
        assert!((&mut old).now_or_never().is_none(), "another frame is being analysed");
        gathering.analysing().gather(Duration::ZERO).await;
        assert!(old.now_or_never().is_some(), "with the other one");
    }

    #[tokio::test]
    async fn results_do_not_wait_for_a_frame_that_ended_or_when_they_are_many() {
        let gathering = Gathering::new(2, LONG..=LONG);
        let another = gathering.analysing();
        let mut held = Box::pin(gathering.analysing().gather(LONG));
        assert!((&mut held).now_or_never().is_none(), "another frame is being analysed");
        assert!(gathering.analysing().gather(LONG).now_or_never().is_some(), "it is the second");
        assert!(held.now_or_never().is_some(), "there were two");

        let mut held = Box::pin(gathering.analysing().gather(LONG));
        assert!((&mut held).now_or_never().is_none(), "another frame is being analysed");
        drop(another);
        assert!(held.now_or_never().is_some(), "the other frame has no result");
    }
}

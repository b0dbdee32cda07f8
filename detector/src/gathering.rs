//! Results that are stored together: the server and this process wake up once for all of them.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

/// Holds a result back for a moment while other frames are being analysed.
///
/// A result after a pause, and the last one of those in flight, are stored at once: so nothing is
/// later than it would be on its own by more than the linger, and a summary is not late at all.
pub(crate) struct Gathering {
    /// So many results are not held any longer.
    most: usize,
    /// Since results were last released, others are held for so long.
    linger: Duration,
    state: Mutex<State>,
    released: Notify,
}

struct State {
    /// Frames whose result is still to come.
    analysing: usize,
    /// Results that wait.
    held: usize,
    deadline: Instant,
}

/// A frame that is being analysed. Without a result it just ends.
pub(crate) struct Analysing<'a>(&'a Gathering);

impl Gathering {
    pub fn new(most: usize, linger: Duration) -> Self {
        let state = State { analysing: 0, held: 0, deadline: Instant::now() };
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
        state.deadline = Instant::now() + self.linger;
        self.released.notify_waiters();
    }
}

impl Analysing<'_> {
    /// The frame's result is there: returns when it is to be stored.
    pub async fn gather(self) {
        let gathering = self.0;
        // A release from here on counts, even before it is first polled.
        let released = gathering.released.notified();
        let deadline = {
            let mut state = gathering.state();
            state.held += 1;
            state.deadline
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
        if state.held > 0 && (enough || Instant::now() >= state.deadline) {
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
        let gathering = Gathering::new(8, LONG);
        let _another = gathering.analysing();
        assert!(gathering.analysing().gather().now_or_never().is_some(), "nothing came before it");

        let mut second = Box::pin(gathering.analysing().gather());
        let mut third = Box::pin(gathering.analysing().gather());
        assert!((&mut second).now_or_never().is_none(), "another frame is being analysed");
        assert!((&mut third).now_or_never().is_none(), "another frame is being analysed");
        gathering.release(&mut gathering.state());
        assert!(second.now_or_never().is_some());
        assert!(third.now_or_never().is_some());
    }

    #[tokio::test]
    async fn a_result_waits_for_another_frame_no_longer_than_the_linger() {
        let gathering = Gathering::new(8, Duration::from_millis(10));
        let _another = gathering.analysing();
        gathering.analysing().gather().await;
        gathering.analysing().gather().await;
    }

    #[tokio::test]
    async fn results_do_not_wait_for_a_frame_that_ended_or_when_they_are_many() {
        let gathering = Gathering::new(2, LONG);
        let another = gathering.analysing();
        assert!(gathering.analysing().gather().now_or_never().is_some(), "nothing came before it");

        let mut held = Box::pin(gathering.analysing().gather());
        assert!((&mut held).now_or_never().is_none(), "another frame is being analysed");
        assert!(gathering.analysing().gather().now_or_never().is_some(), "it is the second");
        assert!(held.now_or_never().is_some(), "there were two");

        let mut held = Box::pin(gathering.analysing().gather());
        assert!((&mut held).now_or_never().is_none(), "another frame is being analysed");
        drop(another);
        assert!(held.now_or_never().is_some(), "the other frame has no result");
    }
}

use std::sync::Arc;
use std::time::Duration;

use moliceiro_nats::{DetectorsConsumer, Streams};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracing::warn;

/// How soon frames of a model that is not loaded are noticed.
const INTERVAL: Duration = Duration::from_millis(500);

/// Asks the server every now and then which models have frames that wait.
pub(crate) struct Survey {
    consumers: watch::Receiver<Arc<Vec<DetectorsConsumer>>>,
    task: JoinHandle<()>,
}

impl Survey {
    pub(crate) fn start(streams: Arc<Streams>) -> Self {
        let (sender, consumers) = watch::channel(Arc::default());
        let task = tokio::spawn(async move {
            let mut ticks = tokio::time::interval(INTERVAL);
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                match streams.all_detectors().await {
                    Ok(found) => drop(sender.send(Arc::new(found))),
                    Err(error) => warn!(%error, "cannot find out which models are needed"),
                }
            }
        });
        Self { consumers, task }
    }

    /// The consumers, if they were surveyed since the last call.
    pub(crate) fn latest(&mut self) -> Option<Arc<Vec<DetectorsConsumer>>> {
        let is_new = self.consumers.has_changed().unwrap_or(false);
        is_new.then(|| Arc::clone(&self.consumers.borrow_and_update()))
    }

    /// Waits until there is a newer survey.
    pub(crate) async fn changed(&mut self) {
        if self.consumers.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
        self.consumers.mark_changed();
    }
}

impl Drop for Survey {
    fn drop(&mut self) {
        self.task.abort();
    }
}

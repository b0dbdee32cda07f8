use std::sync::Arc;
use std::time::Duration;

use async_nats::Subscriber;
use futures_util::StreamExt;
use moliceiro_nats::messages::ModelId;
use moliceiro_nats::{DetectorsConsumer, Models, Streams};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tracing::warn;

/// How soon frames of a model that is not loaded are noticed.
const INTERVAL: Duration = Duration::from_millis(500);
/// The same, for some time after a model was added: its first frames are waited for.
const SOON: Duration = Duration::from_millis(100);
pub(super) const SOON_FOR: Duration = Duration::from_secs(10);
/// Models that were added and that nobody has asked for yet.
const MOST_ADDED: usize = 64;

/// Asks the server every now and then which models have frames that wait, and hears of models that
/// are added.
pub(crate) struct Survey {
    consumers: watch::Receiver<Arc<Vec<DetectorsConsumer>>>,
    added: mpsc::Receiver<ModelId>,
    task: JoinHandle<()>,
}

impl Survey {
    /// `wake` makes it ask at once.
    pub(crate) fn start(streams: Arc<Streams>, wake: Arc<Notify>) -> Self {
        let (sender, consumers) = watch::channel(Arc::default());
        let (heard, added) = mpsc::channel(MOST_ADDED);
        let task = tokio::spawn(async move {
            let mut changes = None;
            let mut soon_until = Instant::now();
            loop {
                match streams.all_detectors().await {
                    Ok(found) => drop(sender.send(Arc::new(found))),
                    Err(error) => warn!(%error, "cannot find out which models are needed"),
                }
                if changes.is_none() {
                    changes = subscribe(&streams.models).await;
                }
                let pause = if Instant::now() < soon_until { SOON } else { INTERVAL };
                let next = async {
                    match &mut changes {
                        Some(changes) => changes.next().await,
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    () = wake.notified() => {}
                    message = next => match message {
                        Some(message) => {
                            if let Some(model) = Models::added_by(&message) {
                                soon_until = Instant::now() + SOON_FOR;
                                // Too many at once are noticed when their frames wait.
                                heard.try_send(model).ok();
                            }
                        }
                        None => changes = None,
                    }
                }
            }
        });
        Self { consumers, added, task }
    }

    /// The consumers, if they were surveyed since the last call.
    pub(crate) fn latest(&mut self) -> Option<Arc<Vec<DetectorsConsumer>>> {
        let is_new = self.consumers.has_changed().unwrap_or(false);
        is_new.then(|| Arc::clone(&self.consumers.borrow_and_update()))
    }

    /// A model that was added since the last call.
    pub(crate) fn added(&mut self) -> Option<ModelId> {
        self.added.try_recv().ok()
    }

    /// Waits until there is a newer survey.
    pub(crate) async fn changed(&mut self) {
        if self.consumers.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
        self.consumers.mark_changed();
    }
}

/// Without it, models are noticed a little later.
async fn subscribe(models: &Models) -> Option<Subscriber> {
    match models.changes().await {
        Ok(changes) => Some(changes),
        Err(error) => {
            warn!(%error, "cannot hear of models that are added");
            None
        }
    }
}

impl Drop for Survey {
    fn drop(&mut self) {
        self.task.abort();
    }
}

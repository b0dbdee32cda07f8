//! Takes uploads from the queue, and ingests as many at a time as the settings allow.

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::Message;
use futures_util::StreamExt;
use moliceiro_nats::Streams;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

use crate::context::Context;
use crate::upload_job::UploadJob;

const PAUSE_AFTER_ERROR: Duration = Duration::from_secs(1);
/// How long a pull waits for an upload. At shutdown the last pull is awaited, so that the server
/// delivers no upload to a service that has ended.
const PULL_EXPIRY: Duration = Duration::from_secs(1);

/// Takes uploads until `shutdown`, then returns unfinished ones to the queue.
pub(crate) async fn run(context: &Context, shutdown: &CancellationToken) {
    let permits = Arc::new(Semaphore::new(context.service.section.videos));
    let jobs = TaskTracker::new();
    // Cancelled only after the last pull: this ingest must not get back what it returns.
    let requeue = CancellationToken::new();
    while let Some(Ok(permit)) = shutdown.run_until_cancelled(permits.clone().acquire_owned()).await
    {
        let Some(message) = next_upload(&context.streams).await else { continue };
        let job = UploadJob::new(context.clone(), message, requeue.clone());
        jobs.spawn(async move {
            job.run().await;
            drop(permit);
        });
    }
    requeue.cancel();
    jobs.close();
    jobs.wait().await;
}

async fn next_upload(streams: &Streams) -> Option<Message> {
    let batch = streams.ingest.batch().max_messages(1).expires(PULL_EXPIRY).messages().await;
    let next = match batch {
        Ok(mut messages) => messages.next().await?,
        Err(error) => Err(error.into()),
    };
    match next {
        Ok(message) => Some(message),
        Err(error) => {
            warn!(%error, "cannot pull uploads; retrying");
            tokio::time::sleep(PAUSE_AFTER_ERROR).await;
            None
        }
    }
}

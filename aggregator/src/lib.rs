//! Counts every frame of every video once, and publishes alarms and summaries.
//!
//! The way of a result through the files:
//!
//! 1. `batch.rs` pulls results, many at a time; `result_message.rs` reads each.
//! 2. `counter.rs` groups them by video and takes each video's totals from memory or from its entry
//!    (`entries.rs`).
//! 3. `counter/step.rs` adds the results to the totals, writes those by compare-and-swap, publishes
//!    alarms and finished tracks (`live_fold.rs`, `ordered_publisher.rs`) and, after the last frame, the summary
//!    (`summary_publisher.rs`). `output.rs` says what that prints, `printer.rs` prints it.
//! 4. `result_message.rs` acknowledges the results: only now, so that nothing is lost.
//!
//! Beside that, `repair.rs` notices videos of which something was lost, counts them again
//! (`counter/recount.rs`) and asks for frames to be decoded again. `max_deliveries.rs` fails messages that ran out of deliveries, `orphans.rs` finds
//! those whose advisory was lost, `retention.rs` removes old results when their stream gets full,
//! `status.rs` answers requests for a video's status and for the work in the queue, and `gauges.rs`
//! watches streams, that work, and videos.
//!
//! The rules of counting and of alarms are in `moliceiro-analytics`, which does no I/O.

mod arguments;
mod batch;
mod counter;
mod entries;
mod gauges;
mod live_fold;
mod max_deliveries;
pub mod metrics;
mod ordered_publisher;
mod orphans;
mod output;
mod printer;
mod publication;
mod repair;
mod result_message;
mod retention;
mod settings;
mod status;
mod summary_publisher;

use std::sync::Arc;
use std::time::Duration;

use moliceiro_nats::Streams;
use moliceiro_service::{OpenError, Telemetry, connect_streams};
use thiserror::Error;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::batch::Batches;
use crate::counter::Counter;
use crate::metrics::Metrics;
use crate::repair::Recount;

pub use arguments::AggregatorArguments;
pub use output::{Printed, Publication};
pub use printer::printer;
pub use settings::{AggregatorService, AggregatorSettings, OutputFormat};

/// Unacknowledged publishes. An aggregator publishes little, most of it one after the other.
const PUBLISHES_IN_FLIGHT: usize = 16;
const PAUSE_AFTER_ERROR: Duration = Duration::from_secs(1);

/// Why an aggregator ends before its shutdown is requested.
#[derive(Debug, Error)]
pub enum AggregatorError {
    /// The server or its streams cannot be used.
    #[error(transparent)]
    Open(#[from] OpenError),
}

/// Counts until `shutdown`. Calls `on_publication` with each alarm and summary that this aggregator
/// publishes.
pub async fn run(
    service: AggregatorService,
    on_publication: impl FnMut(Publication<'_>) + Send,
    telemetry: Telemetry,
    shutdown: CancellationToken,
) -> Result<(), AggregatorError> {
    let metrics = Arc::new(Metrics::new(&mut telemetry.catalogue()));
    let opening = connect_streams(&service, PUBLISHES_IN_FLIGHT, &telemetry);
    let Some(streams) = shutdown.run_until_cancelled(opening).await.transpose()? else {
        return Ok(());
    };
    metrics.ready();
    let (recounts, requests) = mpsc::channel(1);
    let (work, latest_work) = watch::channel(None);
    tokio::join!(
        count_results(&streams, &service, &metrics, requests, on_publication, &shutdown),
        repair::run(&streams, &service.section, &metrics, recounts, &shutdown),
        gauges::run(&streams, service.streams.keep, &metrics, &work, &shutdown),
        max_deliveries::run(&streams, &metrics, &shutdown),
        orphans::run(&streams, &metrics, &shutdown),
        retention::run(&streams, &shutdown),
        status::serve(&streams, &latest_work, &shutdown)
    );
    Ok(())
}

async fn count_results(
    streams: &Streams,
    service: &AggregatorService,
    metrics: &Arc<Metrics>,
    mut recounts: mpsc::Receiver<Recount>,
    mut on_publication: impl FnMut(Publication<'_>),
    shutdown: &CancellationToken,
) {
    let settings = &service.section;
    let mut counter = Counter::new(
        streams.clone(),
        settings.alarms.clone(),
        service.streams.keep,
        Arc::clone(metrics),
        shutdown.clone(),
    );
    while !shutdown.is_cancelled() {
        let mut batches = match Batches::open(streams, settings.linger, metrics).await {
            Ok(batches) => batches,
            Err(error) => {
                warn!(%error, "cannot pull results; retrying");
                // A repair may be what makes pulling possible again.
                tokio::select! {
                    () = shutdown.cancelled() => {}
                    () = tokio::time::sleep(PAUSE_AFTER_ERROR) => {}
                    Some(recount) = recounts.recv() => {
                        answer(&mut counter, recount, &mut on_publication).await;
                    }
                }
                continue;
            }
        };
        // A batch in flight is finished even on shutdown: its totals may be written already.
        loop {
            tokio::select! {
                next = shutdown.run_until_cancelled(batches.next()) => {
                    let Some(Ok(batch)) = next else { break };
                    counter.count(batch, &mut on_publication).await;
                }
                Some(recount) = recounts.recv() => {
                    answer(&mut counter, recount, &mut on_publication).await;
                }
            }
        }
    }
    streams.flush().await;
}

async fn answer(
    counter: &mut Counter,
    Recount { video, done }: Recount,
    on_publication: &mut impl FnMut(Publication<'_>),
) {
    let is_counted = Box::pin(counter.recount(&video, on_publication)).await;
    // The receiver is dropped on shutdown.
    done.send(is_counted).ok();
}

//! Counts every frame of every video once, and says what was in it.
//!
//! The way of a result: `batch` pulls it with others, `tally` adds it to its video's totals and
//! writes those by compare-and-swap, publishes alarms (`raise`) and, when the last frame is in, the
//! summary, and only then are the results acknowledged. `exhausted` speaks for messages that ran
//! out of deliveries, `left` finds those that nobody told of, `room` makes room in the log of
//! results, `status` answers who asks for a video. The rules of counting are in `count`, those of
//! alarms in `alarms`, both without I/O.

mod arguments;
mod batch;
mod entries;
mod exhausted;
mod gauges;
mod left;
pub mod metrics;
mod output;
mod raise;
mod report;
mod room;
mod settings;
mod status;
mod tally;

use std::time::Duration;

use moliceiro_nats::Streams;
use moliceiro_service::{OpenError, Telemetry, open_streams};
use thiserror::Error;
use tokio_util::sync::CancellationToken;
use tracing::warn;

pub use arguments::AggregatorArguments;
pub use output::{Publication, printer};
pub use settings::{AggregatorService, AggregatorSettings, OutputFormat};

/// One publish after the other: an aggregator's own messages are few.
const PUBLISHES_IN_FLIGHT: usize = 16;
const PAUSE_AFTER_ERROR: Duration = Duration::from_secs(1);

/// Why an aggregator ends before it is told to.
#[derive(Debug, Error)]
pub enum AggregatorError {
    /// No usable server or streams.
    #[error(transparent)]
    Open(#[from] OpenError),
}

/// Counts until `shutdown`. `on_publication` is told each alarm and summary that this aggregator
/// publishes.
pub async fn run(
    service: AggregatorService,
    on_publication: impl FnMut(Publication<'_>) + Send,
    telemetry: Telemetry,
    shutdown: CancellationToken,
) -> Result<(), AggregatorError> {
    let opening = open_streams(
        "aggregator",
        &service.nats,
        &service.streams,
        PUBLISHES_IN_FLIGHT,
        &telemetry,
    );
    let Some(streams) = shutdown.run_until_cancelled(opening).await.transpose()? else {
        return Ok(());
    };
    report::ready();
    let counting = count_results(&streams, &service.aggregator, on_publication, &shutdown);
    let watching = gauges::run(&streams, service.streams.keep, &shutdown);
    tokio::join!(
        counting,
        watching,
        exhausted::run(&streams, &shutdown),
        left::run(&streams, &shutdown),
        room::keep(&streams, &shutdown),
        status::serve(&streams, &shutdown)
    );
    Ok(())
}

async fn count_results(
    streams: &Streams,
    settings: &AggregatorSettings,
    mut on_publication: impl FnMut(Publication<'_>),
    shutdown: &CancellationToken,
) {
    let mut tally = tally::Tally::new(streams.clone(), settings.alarms.clone(), shutdown.clone());
    while !shutdown.is_cancelled() {
        let mut batches = match batch::Batches::open(streams, settings.linger).await {
            Ok(batches) => batches,
            Err(error) => {
                warn!(%error, "cannot pull results; trying again");
                shutdown.run_until_cancelled(tokio::time::sleep(PAUSE_AFTER_ERROR)).await;
                continue;
            }
        };
        // A batch in hand is finished even when it is time to end: its totals may be written
        // already.
        while let Some(Some(batch)) = shutdown.run_until_cancelled(batches.next()).await {
            tally.take(batch, &mut on_publication).await;
        }
    }
    streams.flush().await;
}

//! Keeps the log of results from filling up: results of finished videos stay available to readers
//! until newer ones need the space.

use std::time::Duration;

use moliceiro_nats::Streams;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

const INTERVAL: Duration = Duration::from_secs(1);

/// The log is trimmed to this share of its limit.
const FILL_DIVISOR: u64 = 2;

/// Removes the oldest counted results whenever the log is more than half full, until `shutdown`.
pub(crate) async fn run(streams: &Streams, shutdown: &CancellationToken) {
    while shutdown.run_until_cancelled(tokio::time::sleep(INTERVAL)).await.is_some() {
        match shutdown.run_until_cancelled(trim(streams)).await {
            Some(Ok(0)) | None => {}
            Some(Ok(removed)) => info!(removed, "removed the oldest results to free space"),
            Some(Err(error)) => warn!(%error, "cannot free space in the log of results; retrying"),
        }
    }
}

/// Returns how many results it removed.
async fn trim(streams: &Streams) -> Result<u64, async_nats::Error> {
    let log = streams.results.get_info().await?;
    let limit = u64::try_from(log.config.max_bytes).unwrap_or(0);
    let surplus = log.state.bytes.saturating_sub(limit / FILL_DIVISOR);
    if limit == 0 || surplus == 0 {
        return Ok(0);
    }
    let average_size = log.state.bytes.div_ceil(log.state.messages.max(1)).max(1);
    let wanted = log.state.first_sequence + surplus.div_ceil(average_size);
    // What is not acknowledged may not be counted.
    let counted = streams.aggregator.get_info().await?.ack_floor.stream_sequence;
    let until = wanted.min(counted + 1);
    if until <= log.state.first_sequence {
        return Ok(0);
    }
    Ok(streams.results.purge().sequence(until).await?.purged)
}

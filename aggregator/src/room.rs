//! Keeps room in the log of results: those of finished videos stay for readers, until newer ones
//! need their place.

use std::time::Duration;

use moliceiro_nats::Streams;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

const INTERVAL: Duration = Duration::from_secs(1);

/// Removes the oldest results that are counted whenever the log is more than half full, until
/// `shutdown`.
pub(crate) async fn keep(streams: &Streams, shutdown: &CancellationToken) {
    while shutdown.run_until_cancelled(tokio::time::sleep(INTERVAL)).await.is_some() {
        match shutdown.run_until_cancelled(make(streams)).await {
            Some(Ok(0)) | None => {}
            Some(Ok(removed)) => info!(removed, "made room in the log of results"),
            Some(Err(error)) => {
                warn!(%error, "cannot make room in the log of results; trying again")
            }
        }
    }
}

/// Removes what is over half of the log's limit, and gives how many results that were.
async fn make(streams: &Streams) -> Result<u64, async_nats::Error> {
    let log = streams.results.get_info().await?;
    let limit = u64::try_from(log.config.max_bytes).unwrap_or(0);
    let surplus = log.state.bytes.saturating_sub(limit / 2);
    if limit == 0 || surplus == 0 {
        return Ok(0);
    }
    let size = log.state.bytes.div_ceil(log.state.messages.max(1)).max(1);
    let wanted = log.state.first_sequence + surplus.div_ceil(size);
    let counted = streams.aggregator.get_info().await?.ack_floor.stream_sequence;
    // What is not acknowledged may not be counted.
    let until = wanted.min(counted + 1);
    if until <= log.state.first_sequence {
        return Ok(0);
    }
    Ok(streams.results.purge().sequence(until).await?.purged)
}

//! What can be read from JetStream at any time: how full the streams are, and which state the
//! videos are in.
//!
//! Every aggregator exports the same values, also one that stands by.

mod streams;
mod videos;

use std::time::Duration;

use moliceiro_nats::Streams;
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;

const INTERVAL: Duration = Duration::from_secs(2);

/// Keeps the gauges up to date until `shutdown`. Entries of videos expire after `keep`.
pub(crate) async fn run(
    streams: &Streams,
    keep: Duration,
    metrics: &Metrics,
    shutdown: &CancellationToken,
) {
    let watching = async {
        tokio::join!(
            streams::watch(streams, INTERVAL, metrics),
            videos::watch(streams, keep, INTERVAL, metrics)
        )
    };
    shutdown.run_until_cancelled(watching).await;
}

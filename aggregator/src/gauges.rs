//! What can be read from JetStream at any time: how full the streams are, and how the videos stand.
//!
//! Each aggregator shows the same, so that a stand-by shows it too.

mod streams;
mod videos;

use std::time::Duration;

use moliceiro_nats::Streams;
use tokio_util::sync::CancellationToken;

pub(crate) use videos::FINAL_STATES;

const INTERVAL: Duration = Duration::from_secs(2);

/// Keeps the gauges true until `shutdown`.
pub(crate) async fn run(streams: &Streams, keep: Duration, shutdown: &CancellationToken) {
    let watching = async { tokio::join!(streams::watch(streams), videos::watch(streams, keep)) };
    shutdown.run_until_cancelled(watching).await;
}

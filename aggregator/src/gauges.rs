//! What can be read from JetStream at any time: how full the streams are, how long the frames in the
//! queue take, and which state the videos are in.
//!
//! Every aggregator exports the same values, also one that stands by.

mod streams;
mod videos;

use std::time::{Duration, Instant};

use moliceiro_nats::messages::QueuedWork;
use moliceiro_nats::{Streams, work};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;

const INTERVAL: Duration = Duration::from_secs(2);

/// The latest measurement of the work in the queue, and when it was made.
pub(crate) type LatestWork = Option<(Instant, QueuedWork)>;

/// Keeps the gauges, and `latest_work`, up to date until `shutdown`. Entries of videos expire after
/// `keep`.
pub(crate) async fn run(
    streams: &Streams,
    keep: Duration,
    metrics: &Metrics,
    latest_work: &watch::Sender<LatestWork>,
    shutdown: &CancellationToken,
) {
    let (measured, measurements) = watch::channel(None);
    let watching = async {
        tokio::join!(
            streams::watch(streams, INTERVAL, metrics),
            videos::watch(streams, keep, INTERVAL, metrics),
            work::follow(streams, &measured),
            export_work(measurements, metrics, latest_work)
        )
    };
    shutdown.run_until_cancelled(watching).await;
}

/// While the server does not say, the values stay what they were.
async fn export_work(
    mut measurements: watch::Receiver<Option<QueuedWork>>,
    metrics: &Metrics,
    latest_work: &watch::Sender<LatestWork>,
) {
    while measurements.changed().await.is_ok() {
        let Some(work) = measurements.borrow_and_update().clone() else { continue };
        metrics.work(&work);
        latest_work.send_replace(Some((Instant::now(), work)));
    }
}

//! How much work is in the frame queue: frames that wait or are in flight, of each model, and how
//! long they take.
//!
//! The leader of each model's consumer says how many frames there are, those in flight included,
//! and how many are done. Detectors report how long they work on a frame ([`RATES_SUBJECT`]), so the
//! speed of one is known even while there is little to do.

mod meter;

use std::time::{Duration, Instant};

use async_nats::Subscriber;
use async_nats::jetstream::context::ConsumerInfoErrorKind;
use futures_util::StreamExt;
use tokio::sync::watch;
use tracing::{debug, warn};

use crate::messages::{DetectorRates, QueuedWork, from_json};
use crate::streams::Streams;
use crate::subjects::{RATES_SUBJECT, detectors_consumer};

use meter::{Level, Meter};

/// How often the work is measured, and detectors report.
pub const INTERVAL: Duration = Duration::from_secs(1);
/// Consumers that exist are asked at every measurement; new ones are searched for this often.
const SEARCH_INTERVAL: Duration = Duration::from_secs(2);
/// A leader answers at once. While there is none, nothing is known.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
const PAUSE_AFTER_ERROR: Duration = Duration::from_secs(1);

/// Measures the work until the future is dropped. Sends each measurement; `None` while the server
/// does not say, because it has no leader.
pub async fn follow(streams: &Streams, measured: &watch::Sender<Option<QueuedWork>>) {
    let mut meter = Meter::default();
    loop {
        match streams.jetstream.client().subscribe(RATES_SUBJECT).await {
            Ok(reports) => measure(streams, reports, &mut meter, measured).await,
            Err(error) => warn!(%error, "cannot subscribe to the reports of detectors; retrying"),
        }
        tokio::time::sleep(PAUSE_AFTER_ERROR).await;
    }
}

/// Returns when the subscription ends.
async fn measure(
    streams: &Streams,
    mut reports: Subscriber,
    meter: &mut Meter,
    measured: &watch::Sender<Option<QueuedWork>>,
) {
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut searched: Option<Instant> = None;
    loop {
        tokio::select! {
            report = reports.next() => {
                let Some(report) = report else { return };
                match from_json::<DetectorRates>(&report.payload) {
                    Ok(rates) => meter.report(Instant::now(), &rates),
                    Err(error) => debug!(%error, "ignoring a report that is not of a detector"),
                }
            }
            _ = ticks.tick() => {
                let is_due = searched.is_none_or(|at| at.elapsed() >= SEARCH_INTERVAL);
                let is_known = is_due && search(streams, meter).await;
                searched = if is_known { Some(Instant::now()) } else { searched };
                let is_complete = searched.is_some() && read_levels(streams, meter).await;
                measured.send_replace(is_complete.then(|| meter.work(Instant::now())));
            }
        }
    }
}

/// Whether the models that have a consumer are known.
async fn search(streams: &Streams, meter: &mut Meter) -> bool {
    match tokio::time::timeout(ANSWER_TIMEOUT, streams.all_detectors()).await {
        Ok(Ok(found)) => {
            found.iter().for_each(|consumer| meter.add(&consumer.model));
            true
        }
        Ok(Err(error)) => {
            debug!(%error, "cannot list the consumers of frames");
            false
        }
        Err(_) => false,
    }
}

/// Asks the leader of each consumer; whether all of them answered.
async fn read_levels(streams: &Streams, meter: &mut Meter) -> bool {
    let mut is_complete = true;
    for model in meter.models() {
        let name = detectors_consumer(&model);
        let asked = streams.frames.consumer_info(&name);
        match tokio::time::timeout(ANSWER_TIMEOUT, asked).await {
            Ok(Ok(info)) => meter.level(&model, Instant::now(), Level::of(&info)),
            Ok(Err(error)) if error.kind() == ConsumerInfoErrorKind::NotFound => {
                meter.remove(&model)
            }
            Ok(Err(error)) => {
                debug!(%error, %model, "the consumer of a model does not answer");
                is_complete = false;
            }
            Err(_) => is_complete = false,
        }
    }
    is_complete
}

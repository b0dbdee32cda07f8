use std::sync::atomic::Ordering::Relaxed;

use async_nats::Client;
use async_nats::connection::State;
use moliceiro_nats::publish::Publisher;
use moliceiro_nats::storage::Storage;
use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec};

use super::Catalogue;

/// A service's connection to NATS, and what publishes over it.
#[derive(Clone)]
pub(crate) struct Connection {
    /// A name that no other connection of the service has.
    pub(crate) name: &'static str,
    pub(crate) client: Client,
    /// Unknown until the streams are open.
    pub(crate) publisher: Option<Publisher>,
    pub(crate) storage: Option<Storage>,
}

/// Metrics of a service's connections and publishes.
pub(crate) struct ConnectionMetrics {
    connected: IntGaugeVec,
    connects: IntCounterVec,
    sent: IntCounterVec,
    received: IntCounterVec,
    stored: IntCounter,
    retries: IntCounterVec,
    waiting: IntGauge,
    stuck: IntGaugeVec,
}

/// Values of the label `reason`: why a publish is retried.
const REASONS: [&str; 2] = ["full", "unavailable"];

impl ConnectionMetrics {
    pub(crate) fn new(catalogue: &mut Catalogue) -> Self {
        let client = ("client", &[][..]);
        Self {
        connected: catalogue.gauges(
            "moliceiro_nats_connected",
            "1 while the connection to NATS is up",
            &["client"],
        ),
        connects: catalogue.counters(
            "moliceiro_nats_connects_total",
            "Connections to NATS made: those after the first are reconnects",
            client,
        ),
        sent: catalogue.counters("moliceiro_nats_sent_bytes_total", "Bytes sent to NATS", client),
        received: catalogue.counters(
            "moliceiro_nats_received_bytes_total",
            "Bytes received from NATS",
            client,
        ),
        stored: catalogue
            .counter("moliceiro_publishes_total", "Messages that a stream has acknowledged"),
        retries: catalogue.counters(
            "moliceiro_publish_retries_total",
            "Publishes retried: full, the stream is full; unavailable, the stream did not answer",
            ("reason", &REASONS),
        ),
        waiting: catalogue.gauge(
            "moliceiro_publishes_waiting",
            "Messages that wait now because their stream is full",
        ),
        stuck: catalogue.gauges(
            "moliceiro_stream_stuck",
            "1 if the stream stores nothing until nats-server is restarted, because its disk was \
             full or failed; of a cluster, if too few of its servers take part",
            &["stream"],
        ),
        }
    }

    /// Updates the metrics.
    pub(crate) fn refresh(&self, connections: &[Connection]) {
        let mut totals = [0; 3];
        let mut waiting = 0;
        for Connection { name, client, publisher, storage } in connections {
            let connected = client.connection_state() == State::Connected;
            self.connected.with_label_values(&[name]).set(connected.into());
            let statistics = client.statistics();
            for (counters, total) in [
                (&self.connects, &statistics.connects),
                (&self.sent, &statistics.out_bytes),
                (&self.received, &statistics.in_bytes),
            ] {
                raise_to(&counters.with_label_values(&[name]), total.load(Relaxed));
            }
            if let Some(storage) = storage {
                let stuck = storage.stuck();
                for stream in storage.names() {
                    let is_stuck = stuck.iter().any(|stuck| stuck.stream == stream);
                    self.stuck.with_label_values(&[stream]).set(is_stuck.into());
                }
            }
            if let Some(publisher) = publisher {
                let statistics = publisher.statistics();
                totals[0] += statistics.stored;
                totals[1] += statistics.found_full;
                totals[2] += statistics.found_unavailable;
                waiting += statistics.waiting_for_space;
            }
        }
        let [stored, full, unavailable] = totals;
        raise_to(&self.stored, stored);
        for (reason, total) in REASONS.into_iter().zip([full, unavailable]) {
            raise_to(&self.retries.with_label_values(&[reason]), total);
        }
        self.waiting.set(i64::try_from(waiting).unwrap_or(i64::MAX));
    }
}

/// Raises a counter to a total that is counted elsewhere.
fn raise_to(counter: &IntCounter, total: u64) {
    counter.inc_by(total.saturating_sub(counter.get()));
}

use std::sync::{LazyLock, Mutex, PoisonError};

use async_nats::Client;
use async_nats::connection::State;
use moliceiro_nats::publish;
use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec};

use super::{Catalogue, Described};

struct Metrics {
    catalogue: Catalogue,
    connected: IntGaugeVec,
    connects: IntCounterVec,
    sent: IntCounterVec,
    received: IntCounterVec,
    stored: IntCounter,
    tried_again: IntCounterVec,
    waiting: IntGauge,
}

/// A label's values: why a publish is tried again.
const REASONS: [&str; 2] = ["full", "unavailable"];

static METRICS: LazyLock<Metrics> = LazyLock::new(|| {
    let mut catalogue = Catalogue::default();
    let client = ("client", &[][..]);
    Metrics {
        connected: catalogue.gauges(
            "moliceiro_nats_connected",
            "1 while the connection to NATS is up",
            &["client"],
        ),
        connects: catalogue.counters(
            "moliceiro_nats_connects_total",
            "Connections to NATS made: more than 1 are reconnects",
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
        tried_again: catalogue.counters(
            "moliceiro_publish_retries_total",
            "Publishes tried again: full, the stream has no room; unavailable, no stream answered",
            ("reason", &REASONS),
        ),
        waiting: catalogue.gauge(
            "moliceiro_publishes_waiting",
            "Messages that wait now because their stream is full",
        ),
        catalogue,
    }
});

static CLIENTS: Mutex<Vec<(&'static str, Client)>> = Mutex::new(Vec::new());

/// Shows how a connection does from here on, under a name that the process gives to one connection
/// only.
pub(crate) fn watch_connection(name: &'static str, client: Client) {
    CLIENTS.lock().unwrap_or_else(PoisonError::into_inner).push((name, client));
}

pub(super) fn refresh() {
    // Held to the end: two scrapes at once must not both raise a counter.
    let clients = CLIENTS.lock().unwrap_or_else(PoisonError::into_inner);
    for (name, client) in clients.iter() {
        let connected = client.connection_state() == State::Connected;
        METRICS.connected.with_label_values(&[name]).set(connected.into());
        let statistics = client.statistics();
        for (counters, total) in [
            (&METRICS.connects, &statistics.connects),
            (&METRICS.sent, &statistics.out_bytes),
            (&METRICS.received, &statistics.in_bytes),
        ] {
            raise(
                &counters.with_label_values(&[name]),
                total.load(std::sync::atomic::Ordering::Relaxed),
            );
        }
    }
    let publishes = publish::statistics();
    raise(&METRICS.stored, publishes.stored);
    for (reason, total) in
        REASONS.into_iter().zip([publishes.found_full, publishes.found_unavailable])
    {
        raise(&METRICS.tried_again.with_label_values(&[reason]), total);
    }
    METRICS.waiting.set(i64::try_from(publishes.waiting_for_room).unwrap_or(i64::MAX));
}

/// Brings a counter up to a total that is counted elsewhere.
fn raise(counter: &IntCounter, total: u64) {
    counter.inc_by(total.saturating_sub(counter.get()));
}

pub(super) fn described() -> Vec<Described> {
    METRICS.catalogue.described().to_vec()
}

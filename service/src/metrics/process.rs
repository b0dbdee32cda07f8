use std::sync::LazyLock;

use prometheus::{IntGauge, IntGaugeVec};
use tokio::runtime::Handle;

use super::{Catalogue, Described};

struct Metrics {
    catalogue: Catalogue,
    build: IntGaugeVec,
    workers: IntGauge,
    tasks: IntGauge,
    queued: IntGauge,
}

static METRICS: LazyLock<Metrics> = LazyLock::new(|| {
    let mut catalogue = Catalogue::default();
    Metrics {
        build: catalogue.gauges("moliceiro_build_info", "Always 1; the label says which version runs", &["version"]),
        workers: catalogue.gauge("moliceiro_tokio_workers", "Threads of the async runtime"),
        tasks: catalogue.gauge("moliceiro_tokio_tasks", "Tasks of the async runtime that are alive"),
        queued: catalogue.gauge(
            "moliceiro_tokio_queued_tasks",
            "Tasks that wait in the runtime's global queue: more than a few for long mean that something blocks it",
        ),
        catalogue,
    }
});

/// Shows what the process is from here on.
pub(crate) fn watch_process() {
    METRICS.build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
}

/// Must be called on a tokio runtime.
pub(super) fn refresh() {
    let runtime = Handle::current().metrics();
    for (gauge, value) in [
        (&METRICS.workers, runtime.num_workers()),
        (&METRICS.tasks, runtime.num_alive_tasks()),
        (&METRICS.queued, runtime.global_queue_depth()),
    ] {
        gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
    }
}

pub(super) fn described() -> Vec<Described> {
    METRICS.catalogue.described().to_vec()
}

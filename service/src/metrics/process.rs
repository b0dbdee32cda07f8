use prometheus::{IntGauge, IntGaugeVec};
use tokio::runtime::Handle;

use super::Catalogue;

/// What runs, and how its async runtime does.
pub(crate) struct ProcessMetrics {
    workers: IntGauge,
    tasks: IntGauge,
    queued: IntGauge,
}

impl ProcessMetrics {
    pub(crate) fn new(catalogue: &mut Catalogue) -> Self {
        let build: IntGaugeVec = catalogue.gauges(
            "moliceiro_build_info",
            "Always 1; the label says which version runs",
            &["version"],
        );
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        Self {
            workers: catalogue.gauge("moliceiro_tokio_workers", "Threads of the async runtime"),
            tasks: catalogue
                .gauge("moliceiro_tokio_tasks", "Tasks of the async runtime that are alive"),
            queued: catalogue.gauge(
                "moliceiro_tokio_queued_tasks",
                "Tasks that wait in the runtime's global queue: more than a few for long mean \
                 that something blocks it",
            ),
        }
    }

    /// Must be called on a tokio runtime.
    pub(crate) fn refresh(&self) {
        let runtime = Handle::current().metrics();
        for (gauge, value) in [
            (&self.workers, runtime.num_workers()),
            (&self.tasks, runtime.num_alive_tasks()),
            (&self.queued, runtime.global_queue_depth()),
        ] {
            gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        }
    }
}

use prometheus::{IntGauge, IntGaugeVec};
use tokio::runtime::Handle;

use super::Catalogue;

/// Metrics of the process: its version and async runtime.
pub(crate) struct ProcessMetrics {
    workers: IntGauge,
    tasks: IntGauge,
    queued: IntGauge,
}

impl ProcessMetrics {
    pub(crate) fn new(catalogue: &mut Catalogue) -> Self {
        let build: IntGaugeVec = catalogue.gauges(
            "moliceiro_build_info",
            "Always 1; the label is the version that runs",
            &["version"],
        );
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        Self {
            workers: catalogue.gauge("moliceiro_tokio_workers", "Threads of the async runtime"),
            tasks: catalogue
                .gauge("moliceiro_tokio_tasks", "Tasks of the async runtime that are alive"),
            queued: catalogue.gauge(
                "moliceiro_tokio_queued_tasks",
                "Tasks that wait in the runtime's global queue: more than a few for long mean that \
                 something blocks it",
            ),
        }
    }

    /// Updates the metrics. Must be called on a tokio runtime.
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

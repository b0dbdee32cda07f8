use std::sync::Arc;

use moliceiro_decode::Workers;
use moliceiro_nats::Streams;
use moliceiro_service::Service;

use crate::allow::Allowed;
use crate::metrics::Metrics;
use crate::settings::IngestSettings;

/// What every upload of one ingest is ingested with. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Context {
    pub(crate) streams: Streams,
    pub(crate) allowed: Arc<Allowed>,
    pub(crate) service: Arc<Service<IngestSettings>>,
    /// Longest video that is fetched over HTTP.
    pub(crate) max_fetched_bytes: u64,
    pub(crate) metrics: Arc<Metrics>,
    /// The processes that decode.
    pub(crate) workers: Workers,
}

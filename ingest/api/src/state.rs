use std::sync::Arc;
use std::time::Duration;

use axum::http::HeaderValue;
use moliceiro_nats::Streams;
use moliceiro_nats::messages::{ModelId, UploadDefaults};
use moliceiro_nats::objects::Objects;
use moliceiro_nats::publish::StoreError;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, SemaphorePermit};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::idempotency::SentKeys;
use crate::problem::Problem;
use crate::settings::HttpSettings;
use crate::tokens::Tokens;
use crate::uri_policy::UriPolicy;

/// Chunks of all uploads together that are in flight to the object store: at 256 KiB each, 16 MiB.
const CHUNKS_IN_FLIGHT: usize = 64;
/// Analyses of stored results at once; more wait.
const ANALYSES: usize = 2;
const STORE_TIMEOUT: Duration = Duration::from_secs(10);

/// What the API needs of the service that serves it.
#[derive(Clone)]
pub struct Backend {
    /// Where uploads are stored and results are read.
    pub streams: Streams,
    /// Which URIs clients may upload.
    pub uri_policy: Arc<dyn UriPolicy>,
    /// Every how many frames a video is analysed if its upload does not say.
    pub default_every: u64,
    /// The model that analyses a video if neither its upload nor `defaults` name one.
    pub default_model: ModelId,
    /// What else an upload gets that leaves it out.
    pub defaults: UploadDefaults,
}

/// What all requests share.
pub(crate) struct ApiState {
    pub(crate) streams: Streams,
    pub(crate) uri_policy: Arc<dyn UriPolicy>,
    pub(crate) default_every: u64,
    pub(crate) default_model: ModelId,
    pub(crate) defaults: UploadDefaults,
    /// Has a context of its own, so that uploads do not use up the frames' share of publishes.
    pub(crate) objects: Objects,
    pub(crate) sent_keys: SentKeys,
    pub(crate) settings: HttpSettings,
    pub(crate) tokens: Arc<Tokens>,
    pub(crate) origins: Vec<HeaderValue>,
    /// Work that outlives the request it belongs to.
    pub(crate) tasks: TaskTracker,
    pub(crate) shutdown: CancellationToken,
    /// An upload is done with, received or not.
    pub(crate) upload_ended: Arc<Notify>,
    upload_permits: Arc<Semaphore>,
    analysis_permits: Semaphore,
}

/// The state as handlers get it.
pub(crate) type SharedState = Arc<ApiState>;

impl ApiState {
    pub(crate) fn new(
        backend: Backend,
        settings: &HttpSettings,
        tokens: Arc<Tokens>,
        shutdown: &CancellationToken,
    ) -> Self {
        let Backend { streams, uri_policy, default_every, default_model, defaults } = backend;
        let origins =
            settings.origins.iter().filter_map(|origin| HeaderValue::from_str(origin).ok());
        Self {
            objects: streams.objects.through(streams.context(STORE_TIMEOUT, CHUNKS_IN_FLIGHT)),
            sent_keys: SentKeys::new(streams.requests.clone()),
            streams,
            uri_policy,
            default_every,
            default_model,
            defaults,
            tokens,
            origins: origins.collect(),
            upload_ended: Arc::default(),
            upload_permits: Arc::new(Semaphore::new(settings.uploads)),
            analysis_permits: Semaphore::new(ANALYSES),
            tasks: TaskTracker::new(),
            shutdown: shutdown.clone(),
            settings: settings.clone(),
        }
    }

    /// Fails if the server cannot write uploads.
    pub(crate) async fn check_storage(&self) -> Result<(), Problem> {
        let stuck = self.streams.storage.check().await;
        stuck.first().map_or(Ok(()), |stuck| Err(Problem::stuck(stuck)))
    }

    /// Waits until one more analysis of stored results may run.
    pub(crate) async fn admit_analysis(&self) -> Option<SemaphorePermit<'_>> {
        // It is never closed.
        self.analysis_permits.acquire().await.ok()
    }

    /// Admits one more upload, unless `http.uploads` are being received already, or the server
    /// cannot write it.
    pub(crate) async fn admit_upload(&self) -> Result<UploadPermit, Problem> {
        if !self.streams.storage.stuck().is_empty() {
            self.check_storage().await?;
        }
        match self.upload_permits.clone().try_acquire_owned() {
            Ok(permit) => {
                Ok(UploadPermit { ended: Arc::clone(&self.upload_ended), _permit: permit })
            }
            Err(_) => Err(Problem::too_many(self.settings.uploads)),
        }
    }
}

/// An upload that is being received.
pub(crate) struct UploadPermit {
    ended: Arc<Notify>,
    _permit: OwnedSemaphorePermit,
}

impl Drop for UploadPermit {
    fn drop(&mut self) {
        self.ended.notify_one();
    }
}

/// Waits for a publish, but not for as long as a full or unreachable stream would make it wait.
pub(crate) async fn stored_in_time<T>(
    publish: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, Problem> {
    match tokio::time::timeout(STORE_TIMEOUT, publish).await {
        Ok(stored) => stored.map_err(Problem::unavailable),
        Err(_) => Err(Problem::unavailable("not stored in time")),
    }
}

use std::time::Duration;

use moliceiro_aggregator::AggregatorSettings;
use moliceiro_api::HttpSettings;
use moliceiro_detector::{DetectorSettings, TrialCommand};
use moliceiro_ingest::{IngestService, IngestSettings};
use moliceiro_nats::messages::{ModelDescription, ModelId, UploadDefaults};
use moliceiro_nats::{NatsSettings, StreamsSettings};
use moliceiro_service::{Base, Service, Settings, SettingsError, Telemetry};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::model::ModelChoice;

/// Where [`moliceiro_service::Listen::Auto`] serves metrics.
const METRICS_PORT: u16 = 9470;

/// The validated settings of all services.
#[derive(Clone, Debug)]
pub struct ServiceSettings {
    /// Logs and metrics, which the services share because they share a process.
    pub base: Base,
    pub(crate) nats: NatsSettings,
    pub(crate) streams: StreamsSettings,
    pub(crate) ingest: IngestSettings,
    pub(crate) http: HttpSettings,
    pub(crate) detector: DetectorSettings,
    pub(crate) aggregator: AggregatorSettings,
    /// What an upload over HTTP gets that leaves it out.
    pub(crate) upload_defaults: UploadDefaults,
}

impl ServiceSettings {
    /// Reads each service's section of the settings. The error lists what is invalid.
    pub fn read(settings: &Settings) -> Result<Self, SettingsError> {
        Ok(Self {
            base: Base {
                log: settings.section()?,
                metrics: settings.section()?,
                metrics_port: METRICS_PORT,
            },
            nats: settings.section()?,
            streams: settings.section()?,
            ingest: settings.section()?,
            http: settings.section()?,
            detector: settings.section()?,
            aggregator: settings.section()?,
            upload_defaults: UploadDefaults::default(),
        })
    }

    /// Loads a model that videos will need before the first frame, if it is built in.
    pub(crate) fn preload(&mut self, models: &[ModelChoice]) {
        let named = models.iter().filter_map(|model| match model {
            ModelChoice::Named(id) => Some(id),
            ModelChoice::File(..) => None,
        });
        let default = models.is_empty().then_some(&self.ingest.model);
        let is_builtin = |id: &&ModelId| ModelDescription::builtin_named(id).is_some();
        let builtin = named.chain(default).find(is_builtin);
        if let Some(id) = builtin {
            self.detector.models.insert(0, id.to_string());
        }
    }

    /// The same settings for services that use another NATS server.
    pub fn with_nats(self, nats: NatsSettings) -> Self {
        Self { nats, ..self }
    }

    fn service<S>(&self, section: S) -> Service<S> {
        let Self { base, nats, streams, .. } = self.clone();
        Service { base, nats, streams, section }
    }
}

/// Ingest, detector and aggregator as tasks of this process. Each has a connection of its own, as
/// it has in a process of its own.
pub struct Services {
    running: JoinSet<anyhow::Result<()>>,
    shutdown: CancellationToken,
}

impl Services {
    /// Starts the services on the current tokio runtime.
    pub fn start(settings: &ServiceSettings, telemetry: &Telemetry) -> Self {
        let ServiceSettings { ingest, http, detector, aggregator, upload_defaults, .. } =
            settings.clone();
        let shutdown = CancellationToken::new();
        let mut running = JoinSet::new();
        let service =
            IngestService { ingest: settings.service(ingest), http, defaults: upload_defaults };
        let (ready, token) = (telemetry.clone(), shutdown.clone());
        running.spawn(async { Ok(moliceiro_ingest::run(service, ready, token).await?) });
        let service = settings.service(detector);
        let (ready, token) = (telemetry.clone(), shutdown.clone());
        let trial = TrialCommand::this_program();
        running.spawn(async { Ok(moliceiro_detector::run(service, trial, ready, token).await?) });
        let service = settings.service(aggregator);
        let (ready, token) = (telemetry.clone(), shutdown.clone());
        // This run prints the summaries that it follows, whichever aggregator published them.
        running
            .spawn(async { Ok(moliceiro_aggregator::run(service, |_| {}, ready, token).await?) });
        Self { running, shutdown }
    }

    /// Returns why a service ended although nobody stopped it.
    pub async fn first_error(&mut self) -> anyhow::Error {
        match self.running.join_next().await {
            Some(Ok(Err(error))) => error,
            Some(Err(panic)) => {
                anyhow::Error::new(panic).context("a service panicked: this is a bug in moliceiro")
            }
            Some(Ok(Ok(()))) | None => anyhow::anyhow!("a service ended unexpectedly"),
        }
    }

    /// Asks the services to stop, and waits up to `timeout` while they finish what they have in
    /// flight.
    pub async fn stop(mut self, timeout: Duration) {
        self.shutdown.cancel();
        let all = async { while self.running.join_next().await.is_some() {} };
        if tokio::time::timeout(timeout, all).await.is_err() {
            warn!("some services are still busy; exiting without them");
        }
    }
}

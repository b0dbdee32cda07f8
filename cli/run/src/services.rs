use std::time::Duration;

use moliceiro_aggregator::{AggregatorService, AggregatorSettings};
use moliceiro_api::HttpSettings;
use moliceiro_detector::{DetectorService, DetectorSettings};
use moliceiro_ingest::{IngestService, IngestSettings};
use moliceiro_nats::{NatsSettings, StreamsSettings};
use moliceiro_service::{Base, Settings, SettingsError, Telemetry};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// Where [`moliceiro_service::Listen::Auto`] serves metrics.
const METRICS_PORT: u16 = 9470;

/// The settings of all services, checked.
#[derive(Clone, Debug)]
pub struct ServiceSettings {
    pub base: Base,
    pub nats: NatsSettings,
    pub streams: StreamsSettings,
    pub ingest: IngestSettings,
    pub http: HttpSettings,
    pub detector: DetectorSettings,
    pub aggregator: AggregatorSettings,
}

impl ServiceSettings {
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
        })
    }

    pub fn with_nats(self, nats: NatsSettings) -> Self {
        Self { nats, ..self }
    }
}

/// The three services, each as it runs alone too: with a connection of its own.
pub struct Services {
    running: JoinSet<anyhow::Result<()>>,
    shutdown: CancellationToken,
}

impl Services {
    pub fn start(settings: &ServiceSettings, telemetry: &Telemetry) -> Self {
        let ServiceSettings { base, nats, streams, ingest, http, detector, aggregator } =
            settings.clone();
        let shutdown = CancellationToken::new();
        let mut running = JoinSet::new();
        let service = IngestService {
            base: base.clone(),
            nats: nats.clone(),
            streams: streams.clone(),
            ingest,
            http,
        };
        let (ready, token) = (telemetry.clone(), shutdown.clone());
        running.spawn(async { Ok(moliceiro_ingest::run(service, ready, token).await?) });
        let service = DetectorService {
            base: base.clone(),
            nats: nats.clone(),
            streams: streams.clone(),
            detector,
        };
        let (ready, token) = (telemetry.clone(), shutdown.clone());
        running.spawn(async { Ok(moliceiro_detector::run(service, ready, token).await?) });
        let service = AggregatorService { base, nats, streams, aggregator };
        let (ready, token) = (telemetry.clone(), shutdown.clone());
        // The summaries are printed by who follows them, wherever they were made.
        running
            .spawn(async { Ok(moliceiro_aggregator::run(service, |_| {}, ready, token).await?) });
        Self { running, shutdown }
    }

    /// Ends when a service does, which none should.
    pub async fn first_error(&mut self) -> anyhow::Error {
        match self.running.join_next().await {
            Some(Ok(Err(error))) => error,
            Some(Err(panic)) => {
                anyhow::Error::new(panic).context("a service ended by a defect of this program")
            }
            Some(Ok(Ok(()))) | None => anyhow::anyhow!("a service ended by itself"),
        }
    }

    /// Lets the services finish what they have in hand.
    pub async fn stop(mut self, patience: Duration) {
        self.shutdown.cancel();
        let all = async { while self.running.join_next().await.is_some() {} };
        if tokio::time::timeout(patience, all).await.is_err() {
            warn!("some services are still busy; leaving them");
        }
    }
}

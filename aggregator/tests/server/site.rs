//! A server with its streams, and aggregators on it.

use moliceiro_aggregator::{AggregatorService, AggregatorSettings, Publication};
use moliceiro_nats::messages::{Event, Summary, VideoEntry, from_json};
use moliceiro_nats::{NatsSettings, Streams, StreamsSettings, VideoId, subjects};
use moliceiro_service::{Base, LogSettings, MetricsSettings, Telemetry};
use moliceiro_testing::server::{self, Server};
use moliceiro_testing::until;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub struct Site {
    pub streams: Streams,
    pub settings: StreamsSettings,
    nats: NatsSettings,
    _server: Option<Server>,
}

impl Site {
    pub async fn start() -> Self {
        Self::start_with(StreamsSettings::default()).await
    }

    pub async fn start_with(settings: StreamsSettings) -> Self {
        let server = Server::start();
        let site = Self::at(&server.url(), settings).await;
        Self { _server: Some(server), ..site }
    }

    /// On a server that is the caller's.
    pub async fn at(url: &str, settings: StreamsSettings) -> Self {
        let client = server::client(url).await;
        let streams = Streams::open(client, &settings, 16).await.unwrap();
        Self { streams, settings, nats: server::settings(url), _server: None }
    }

    /// Where clients reach the server.
    pub fn url(&self) -> String {
        self.nats.url.clone()
    }

    pub async fn store(&self, video: &VideoId, event: Event) {
        self.streams.publisher.publish_event(video, None, event).await.unwrap();
    }

    pub fn aggregator(&self) -> Aggregator {
        self.aggregator_with(AggregatorSettings::default())
    }

    pub fn aggregator_with(&self, section: AggregatorSettings) -> Aggregator {
        let base = Base {
            log: LogSettings::default(),
            metrics: MetricsSettings { listen: "off".parse().unwrap() },
            metrics_port: 0,
        };
        let service = AggregatorService {
            base,
            nats: self.nats.clone(),
            streams: self.settings.clone(),
            section,
        };
        let shutdown = CancellationToken::new();
        let ignore = |_: Publication<'_>| {};
        let running =
            moliceiro_aggregator::run(service, ignore, Telemetry::default(), shutdown.clone());
        Aggregator { shutdown, task: tokio::spawn(async { running.await.unwrap() }) }
    }

    /// Waits until `reached` is true of the video's entry.
    pub async fn entry_where(&self, video: &VideoId, reached: impl Fn(&VideoEntry) -> bool) {
        until("the video's entry", async || {
            let entry = self.streams.videos().entry(video).await.unwrap()?;
            reached(&entry).then_some(())
        })
        .await;
    }

    /// Waits for the video's summary.
    pub async fn summary(&self, video: &VideoId) -> Summary {
        let (summaries, subject) = (&self.streams.summaries, subjects::summary(video));
        until("the video's summary", async || {
            let message = summaries.get_last_raw_message_by_subject(&subject).await.ok()?;
            Some(from_json(&message.payload).unwrap())
        })
        .await
    }
}

pub struct Aggregator {
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

impl Aggregator {
    /// It stops wherever it is.
    pub async fn kill(self) {
        self.task.abort();
        assert!(self.task.await.unwrap_err().is_cancelled());
    }

    pub async fn stop(self) {
        self.shutdown.cancel();
        self.task.await.unwrap();
    }
}

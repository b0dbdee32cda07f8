//! A server with its streams, and aggregators on it.
#![allow(dead_code, reason = "each test file uses its part")]

use std::path::Path;
use std::time::{Duration, Instant};

use moliceiro_aggregator::{AggregatorService, AggregatorSettings, Publication};
use moliceiro_nats::embedded::EmbeddedServer;
use moliceiro_nats::messages::{
    Detection, Ended, Event, FrameResult, FrameSelection, Started, Summary, VideoEntry, from_json,
};
use moliceiro_nats::{
    NatsSettings, Patience, Streams, StreamsSettings, VideoId, connect, subjects,
};
use moliceiro_service::{Base, LogSettings, MetricsSettings, Telemetry};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const LONG: Duration = Duration::from_secs(60);

pub struct Site {
    pub streams: Streams,
    pub settings: StreamsSettings,
    nats: NatsSettings,
    _server: EmbeddedServer,
    _folder: TempDir,
}

impl Site {
    pub async fn start() -> Self {
        Self::start_with(StreamsSettings::default()).await
    }

    pub async fn start_with(settings: StreamsSettings) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.deps/bin/nats-server");
        let server = EmbeddedServer::start(&program, folder.path()).unwrap();
        let nats = NatsSettings { url: server.url().into(), credentials: None };
        let client = connect(&nats, "test", Patience::FailAtOnce).await.unwrap();
        let streams = Streams::open(client, &settings, 16).await.unwrap();
        Self { streams, settings, nats, _server: server, _folder: folder }
    }

    pub async fn store(&self, video: &VideoId, event: Event) {
        self.streams.publisher.publish_event(video, None, event).await.unwrap();
    }

    pub fn aggregator(&self) -> Aggregator {
        let base = Base {
            log: LogSettings::default(),
            metrics: MetricsSettings { listen: "off".parse().unwrap() },
            metrics_port: 0,
        };
        let service = AggregatorService {
            base,
            nats: self.nats.clone(),
            streams: self.settings.clone(),
            aggregator: AggregatorSettings::default(),
        };
        let shutdown = CancellationToken::new();
        let ignore = |_: Publication<'_>| {};
        let running =
            moliceiro_aggregator::run(service, ignore, Telemetry::default(), shutdown.clone());
        Aggregator { shutdown, task: tokio::spawn(async { running.await.unwrap() }) }
    }

    /// Waits until the video's entry is so.
    pub async fn entry_where(&self, video: &VideoId, so: impl Fn(&VideoEntry) -> bool) {
        let deadline = Instant::now() + LONG;
        let entry = || async {
            self.streams
                .videos
                .get(video.as_str())
                .await
                .unwrap()
                .map(|entry| from_json(&entry).unwrap())
        };
        while !entry().await.as_ref().is_some_and(&so) {
            assert!(Instant::now() < deadline, "{:?}", entry().await);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The video's summary, as soon as there is one.
    pub async fn summary(&self, video: &VideoId) -> Summary {
        let deadline = Instant::now() + LONG;
        loop {
            match self
                .streams
                .summaries
                .get_last_raw_message_by_subject(&subjects::summary(video))
                .await
            {
                Ok(message) => return from_json(&message.payload).unwrap(),
                Err(error) => assert!(Instant::now() < deadline, "no summary of {video}: {error}"),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

pub struct Aggregator {
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

impl Aggregator {
    pub async fn stop(self) {
        self.shutdown.cancel();
        self.task.await.unwrap();
    }
}

pub fn video(name: &str) -> VideoId {
    VideoId::for_name(name, "1")
}

pub fn started() -> Event {
    Event::Started(Started {
        name: "a.mp4".into(),
        uri: "file:///a.mp4".into(),
        selection: FrameSelection::every(1),
        uploaded_at: 0,
        alarms: None,
        labels: vec![],
    })
}

pub fn frame(index: u64, labels: &[&str]) -> Event {
    let detection = |label: &&str| Detection {
        label: (*label).into(),
        score: 0.5,
        bounds: [0.0, 0.0, 1.0, 1.0],
    };
    let detections = labels.iter().map(detection).collect();
    Event::Frame(FrameResult {
        index,
        pts: None,
        decoded_at: None,
        detections,
        size: None,
        processing_us: 1000,
        detector: "d".into(),
        model: None,
    })
}

pub fn ended(frames: u64) -> Event {
    Event::Ended(Ended { frames, decoded: frames, duration: None, problem: None })
}

//! Two detectors in one process, on a real server.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use moliceiro_detector::{DetectorService, DetectorSettings, TrialCommand, run};
use moliceiro_nats::embedded::EmbeddedServer;
use moliceiro_nats::messages::{ModelId, Size};
use moliceiro_nats::{NatsSettings, Patience, Streams, StreamsSettings, VideoId, connect};
use moliceiro_service::{Base, LogSettings, MetricsSettings, Telemetry};
use moliceiro_testing::frames::publish_grey;
use tokio_util::sync::CancellationToken;

const FRAMES: u64 = 40;
/// Only guards against hanging.
const PATIENCE: Duration = Duration::from_secs(120);
const SIZE: Size = Size { width: 64, height: 64 };

fn dependency(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../.deps").join(path)
}

fn detector(nats: &NatsSettings, sessions: usize) -> DetectorService {
    DetectorService {
        base: Base {
            log: LogSettings::default(),
            metrics: MetricsSettings { listen: "off".parse().unwrap() },
            metrics_port: 0,
        },
        nats: nats.clone(),
        streams: StreamsSettings::default(),
        section: DetectorSettings {
            sessions,
            onnxruntime: Some(dependency("lib/libonnxruntime.so")),
            ..DetectorSettings::default()
        },
    }
}

/// The value of a metric as `/metrics` shows it; 0 until it exists.
fn figure(telemetry: &Telemetry, metric: &str) -> f64 {
    let text = telemetry.exposition().unwrap();
    let value = text.lines().find_map(|line| line.strip_prefix(metric)?.strip_prefix(' '));
    value.map_or(0.0, |value| value.parse().unwrap())
}

#[tokio::test]
async fn two_detectors_in_one_process_report_their_own_figures() {
    const DONE: &str = r#"moliceiro_detector_frames_total{outcome="done"}"#;
    let folder = tempfile::tempdir().unwrap();
    let server = EmbeddedServer::start(&dependency("bin/nats-server"), folder.path()).unwrap();
    let nats = NatsSettings::at(server.url());
    let client = connect(&nats, "test", Patience::FailAtOnce).await.unwrap();
    let streams = Streams::open(client, &StreamsSettings::default(), 16).await.unwrap();
    let video = VideoId::for_name("a", "1");
    for index in 0..FRAMES {
        publish_grey(&streams, &ModelId::default(), &video, index, SIZE).await;
    }

    let shutdown = CancellationToken::new();
    let telemetries = [Telemetry::default(), Telemetry::default()];
    let sessions = [1, 2];
    let running: Vec<_> = telemetries
        .iter()
        .zip(sessions)
        .map(|(telemetry, sessions)| {
            let trial = TrialCommand::this_program();
            tokio::spawn(run(detector(&nats, sessions), trial, telemetry.clone(), shutdown.clone()))
        })
        .collect();

    let deadline = Instant::now() + PATIENCE;
    let figures = |metric: &str| telemetries.each_ref().map(|of| figure(of, metric));
    let finished = || {
        figures(DONE).iter().sum::<f64>() == FRAMES as f64
            && figures("moliceiro_detector_sessions") == [1.0, 2.0]
    };
    while !finished() {
        assert!(running.iter().all(|run| !run.is_finished()), "a detector ended");
        assert!(Instant::now() < deadline, "{:?}", figures(DONE));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(
        figures("moliceiro_detector_frames_pulled_total"),
        figures(DONE),
        "each counts the frames that it pulled itself"
    );
    shutdown.cancel();
    for run in running {
        run.await.unwrap().unwrap();
    }
}

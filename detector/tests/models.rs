//! A detector that serves models by name, on a real server.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::StreamExt;
use moliceiro_detector::{DetectorService, DetectorSettings, inspect, run};
use moliceiro_nats::embedded::EmbeddedServer;
use moliceiro_nats::messages::{Event, Fit, ModelId, Scaling, Size, VideoEvent, from_cbor};
use moliceiro_nats::models::{CheckError, NewModel};
use moliceiro_nats::{NatsSettings, Patience, Streams, StreamsSettings, VideoId, connect};
use moliceiro_service::{Base, LogSettings, MetricsSettings, Telemetry};
use moliceiro_testing::frames::publish_grey;
use moliceiro_testing::models::always_hanging_model;
use moliceiro_testing::paths::{nats_server, project};
use moliceiro_testing::{HANG_GUARD, until};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const SIZE: Size = Size { width: 64, height: 64 };
const MIB: u64 = 1 << 20;

struct Site {
    _server: EmbeddedServer,
    folder: tempfile::TempDir,
    nats: NatsSettings,
    streams: Streams,
    published: BTreeMap<ModelId, u64>,
}

impl Site {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let server = EmbeddedServer::start(&nats_server(), folder.path()).unwrap();
        let nats = NatsSettings::at(server.url());
        let client = connect(&nats, "test", Patience::FailAtOnce).await.unwrap();
        let streams = Streams::open(client, &StreamsSettings::default(), 16).await.unwrap();
        Self { _server: server, folder, nats, streams, published: BTreeMap::new() }
    }

    /// The built-in model with labels of its own, as a file of this name.
    fn file(&self, name: &str) -> PathBuf {
        let models = project().join("detector/vision/models");
        let path = self.folder.path().join(format!("{name}.onnx"));
        std::fs::copy(models.join("nanodet-int8.onnx"), &path).unwrap();
        let manifest = std::fs::read_to_string(models.join("nanodet.toml")).unwrap();
        std::fs::write(
            path.with_extension("toml"),
            manifest.replace("coco-labels.txt", &format!("{name}.txt")),
        )
        .unwrap();
        let labels: String = (0..80).map(|class| format!("{name} {class}\n")).collect();
        std::fs::write(path.with_extension("txt"), labels).unwrap();
        path
    }

    async fn add(&self, name: &str) -> ModelId {
        let file = self.file(name);
        let new = inspect(&settings(), &file, ModelId::for_name(name)).unwrap();
        let bytes = self.streams.models.upload(&file).await.unwrap();
        self.streams.models.add(&new, bytes).await.unwrap().model
    }

    /// As an ingest does: frames, and the consumer that says that they are needed.
    async fn publish(&mut self, model: &ModelId, frames: u64) {
        self.streams.detectors(model).await.unwrap();
        self.publish_only(model, frames).await;
    }

    async fn publish_only(&mut self, model: &ModelId, frames: u64) {
        let video = VideoId::for_name(model.name(), "1");
        let next = self.published.entry(model.clone()).or_default();
        for index in *next..*next + frames {
            publish_grey(&self.streams, model, &video, index, SIZE).await;
        }
        *next += frames;
    }

    fn detector(&self, section: DetectorSettings) -> Running {
        let service = DetectorService {
            base: Base {
                log: LogSettings::default(),
                metrics: MetricsSettings { listen: "off".parse().unwrap() },
                metrics_port: 0,
            },
            nats: self.nats.clone(),
            streams: StreamsSettings::default(),
            section,
        };
        let (telemetry, shutdown) = (Telemetry::default(), CancellationToken::new());
        let task = tokio::spawn({
            let running = Box::pin(run(service, telemetry.clone(), shutdown.clone()));
            async move { running.await.unwrap() }
        });
        Running { task, telemetry, shutdown }
    }

    /// The results of every frame that was published, of each model: the model that analysed it, or
    /// why it failed. Fails if a frame has two, or none.
    async fn results(&self) -> BTreeMap<ModelId, Vec<String>> {
        let total: u64 = self.published.values().sum();
        let config = async_nats::jetstream::consumer::pull::OrderedConfig::default();
        let consumer = self.streams.results.create_consumer(config).await.unwrap();
        let mut messages = consumer.messages().await.unwrap();
        let mut found: BTreeMap<(String, u64), String> = BTreeMap::new();
        while (found.len() as u64) < total {
            let next = tokio::time::timeout(HANG_GUARD, messages.next()).await;
            let message = next.unwrap_or_else(|_| panic!("{} of {total}", found.len()));
            let event: VideoEvent = from_cbor(&message.unwrap().unwrap().payload).unwrap();
            let (index, text) = match event.event {
                Event::Frame(frame) => (frame.index, frame.model.unwrap()),
                Event::Failed(failed) => (failed.index, failed.reason),
                _ => continue,
            };
            let earlier = found.insert((event.video.to_string(), index), text);
            assert_eq!(earlier, None, "two results of frame {index} of {}", event.video);
        }
        let of = |model: &ModelId| {
            let video = VideoId::for_name(model.name(), "1").to_string();
            found.iter().filter(|((of, _), _)| *of == video).map(|(_, text)| text.clone()).collect()
        };
        self.published.keys().map(|model| (model.clone(), of(model))).collect()
    }

    /// Asserts that each frame was delivered once: no delivery was lost, and no attempt burnt.
    async fn assert_no_redelivery(&self) {
        for of in self.streams.all_detectors().await.unwrap() {
            let delivered = of.info.delivered.consumer_sequence;
            let published = self.published.get(&of.model).copied().unwrap_or(0);
            assert_eq!(delivered, published, "{}", of.model);
        }
    }
}

struct Running {
    task: JoinHandle<()>,
    telemetry: Telemetry,
    shutdown: CancellationToken,
}

impl Running {
    async fn stop(self) {
        self.shutdown.cancel();
        self.task.await.unwrap();
    }

    fn figure(&self, metric: &str) -> Option<String> {
        let text = self.telemetry.exposition().unwrap();
        text.lines().find_map(|line| Some(line.strip_prefix(metric)?.trim().to_owned()))
    }

    /// The line of the metrics that says that a model of this name is loaded.
    fn model_named(&self, name: &str) -> Option<String> {
        let text = self.telemetry.exposition().unwrap();
        let of_model = |line: &&str| line.starts_with("moliceiro_detector_model_info{");
        text.lines().filter(of_model).find(|line| line.contains(name)).map(str::to_owned)
    }

    fn loaded(&self) -> usize {
        let text = self.telemetry.exposition().unwrap();
        text.lines().filter(|line| line.starts_with("moliceiro_detector_model_info{")).count()
    }
}

fn settings() -> DetectorSettings {
    DetectorSettings {
        sessions: 1,
        onnxruntime: Some(project().join(".deps/lib/libonnxruntime.so")),
        ..DetectorSettings::default()
    }
}

fn all(model: &ModelId, frames: u64) -> Vec<String> {
    (0..frames).map(|_| model.to_string()).collect()
}

#[tokio::test]
async fn a_model_comes_into_use_without_a_restart() {
    let mut site = Site::start().await;
    let detector = site.detector(settings());
    let nanodet = ModelId::default();
    site.publish(&nanodet, 5).await;
    let boats = site.add("boats").await;
    site.publish(&boats, 5).await;
    site.publish(&nanodet, 5).await;
    let results = site.results().await;
    assert_eq!(results[&boats], all(&boats, 5));
    assert_eq!(results[&nanodet], all(&nanodet, 10));
    site.assert_no_redelivery().await;
    detector.stop().await;
}

/// Three models, and memory for two of them: they take turns, and no frame is delivered twice.
#[tokio::test]
async fn models_take_turns_within_the_memory() {
    let mut site = Site::start().await;
    let mut models = vec![];
    for name in ["boats", "nets", "gulls"] {
        models.push(site.add(name).await);
    }
    for model in &models {
        site.publish(model, 20).await;
    }
    let one = 2 * std::fs::metadata(site.file("boats")).unwrap().len() + 24 * MIB;
    let memory = 2 * one + MIB;
    let names = models.iter().map(ModelId::to_string).collect();
    let detector = site.detector(DetectorSettings { memory, models: names, ..settings() });
    let results = async {
        let results = site.results().await;
        for model in &models {
            assert_eq!(results[model], all(model, 20), "{model}");
        }
    };
    let watch = async {
        loop {
            assert!(detector.loaded() <= 2, "more models than the memory allows");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        () = results => {}
        () = watch => {}
    }
    site.assert_no_redelivery().await;
    detector.stop().await;
}

#[tokio::test]
async fn a_detector_takes_frames_of_its_models_only() {
    let mut site = Site::start().await;
    let boats = site.add("boats").await;
    let nets = site.add("nets").await;
    let nanodet = ModelId::default();
    for model in [&nanodet, &nets, &boats] {
        site.publish(model, 3).await;
    }
    let only = |name: &str| DetectorSettings { models: vec![name.into()], ..settings() };
    let first = site.detector(only("boats"));
    let second = site.detector(only("nets@1"));
    for detector in [&first, &second] {
        until("it analyses the frames of its model", async || {
            let done = detector.figure(r#"moliceiro_detector_frames_total{outcome="done"}"#);
            done.filter(|done| done == "3")
        })
        .await;
        assert_eq!(detector.loaded(), 1, "neither loads the default model");
        assert_eq!(detector.model_named("nanodet"), None);
    }
    let untouched = site.streams.all_detectors().await.unwrap();
    let untouched = untouched.into_iter().find(|of| of.model == nanodet).unwrap().info;
    assert_eq!((untouched.num_pending, untouched.delivered.consumer_sequence), (3, 0));
    // The default model is served like any other one.
    let third = site.detector(only("nanodet"));
    let results = site.results().await;
    for model in [&boats, &nets, &nanodet] {
        assert_eq!(results[model], all(model, 3));
    }
    site.assert_no_redelivery().await;
    for detector in [first, second, third] {
        detector.stop().await;
    }
}

/// `nats consumer rm` deletes what detectors pull from. The frames are still in the stream.
#[tokio::test]
async fn a_consumer_that_somebody_deletes_is_created_again_and_no_frame_is_lost() {
    let mut site = Site::start().await;
    let boats = site.add("boats").await;
    let nanodet = ModelId::default();
    let detector = site.detector(settings());
    for model in [&boats, &nanodet] {
        site.publish(model, 3).await;
    }
    site.results().await;
    for of in site.streams.all_detectors().await.unwrap() {
        site.streams.frames.delete_consumer(&of.info.name).await.unwrap();
    }
    // As an ingest that created the consumers before: it only publishes.
    for model in [&boats, &nanodet] {
        site.publish_only(model, 5).await;
    }
    let results = site.results().await;
    for model in [&boats, &nanodet] {
        assert_eq!(results[model], all(model, 8));
    }
    detector.stop().await;
}

#[tokio::test]
async fn a_model_that_cannot_be_used_fails_its_own_frames_by_name() {
    let mut site = Site::start().await;
    let file = site.folder.path().join("broken.onnx");
    std::fs::write(&file, "not a model").unwrap();
    let new = NewModel {
        name: ModelId::for_name("broken"),
        size: SIZE,
        multiple_of: None,
        fit: Fit::Letterbox,
        scaling: Scaling::Linear,
        classes: 1,
        manifest: None,
    };
    let bytes = site.streams.models.upload(&file).await.unwrap();
    let broken = site.streams.models.add(&new, bytes).await.unwrap().model;
    let removed: ModelId = "removed@1".parse().unwrap();
    let nanodet = ModelId::default();
    for model in [&broken, &removed, &nanodet] {
        site.publish(model, 4).await;
    }
    let detector = site.detector(settings());
    let results = site.results().await;
    assert_eq!(results[&nanodet], all(&nanodet, 4));
    for (model, part) in [(&broken, "broken@1 cannot be used"), (&removed, "no model removed@1")] {
        assert_eq!(results[model].len(), 4);
        assert!(results[model].iter().all(|reason| reason.contains(part)), "{:?}", results[model]);
    }
    site.assert_no_redelivery().await;
    detector.stop().await;
}

#[tokio::test]
async fn a_model_that_hangs_in_its_trial_is_given_up_and_others_are_served() {
    let mut site = Site::start().await;
    let file = always_hanging_model(site.folder.path());
    let impatient = DetectorSettings { deadline: Some(Duration::from_secs(10)), ..settings() };
    let refused = inspect(&impatient, &file, ModelId::for_name("hanging"));
    let reason = refused.unwrap_err().to_string();
    assert!(reason.contains("it does not finish within 10 s"), "{reason}");
    // As one that another machine, or an earlier release, has added.
    let new = NewModel {
        name: ModelId::for_name("hanging"),
        size: Size { width: 416, height: 416 },
        multiple_of: None,
        fit: Fit::Letterbox,
        scaling: Scaling::Linear,
        classes: 80,
        manifest: None,
    };
    let bytes = site.streams.models.upload(&file).await.unwrap();
    let hanging = site.streams.models.add(&new, bytes).await.unwrap().model;
    let nanodet = ModelId::default();
    for model in [&hanging, &nanodet] {
        site.publish(model, 3).await;
    }
    let detector = site.detector(impatient);
    let results = site.results().await;
    assert_eq!(results[&nanodet], all(&nanodet, 3));
    let is_clear = |reason: &String| {
        reason.contains("hanging@1 cannot be used")
            && reason.contains("does not finish within 10 s")
    };
    assert!(results[&hanging].len() == 3 && results[&hanging].iter().all(is_clear), "{results:?}");
    site.assert_no_redelivery().await;
    detector.stop().await;
}

/// A model that is sent over HTTP: its manifest names no file of the detector's machine, its
/// weights are in one file, and one that is too large is refused before it is loaded.
#[tokio::test]
async fn a_model_that_somebody_sends_is_checked_before_it_is_loaded() {
    let site = Site::start().await;
    let check = async |file: &Path, manifest: Option<&str>| {
        let models = &site.streams.models;
        until("a detector answers", async || {
            let bytes = models.upload(file).await.unwrap();
            let (name, manifest) = (ModelId::for_name("sent"), manifest.map(str::to_owned));
            match models.check_and_add(&site.streams, name, manifest, bytes).await {
                Err(CheckError::NoDetector) => None,
                Err(CheckError::Unusable(reason)) => Some(reason),
                other => panic!("{other:?}"),
            }
        })
        .await
    };
    let file = site.file("boats");
    let detector = site.detector(settings());
    let reason = check(&file, Some("labels = \"/dev/zero\"")).await;
    assert!(reason.contains("write the names themselves"), "{reason}");
    let external = project().join("detector/vision/tests/data/misfits/external.onnx");
    let reason = check(&external, None).await;
    assert!(reason.contains("weights.bin"), "{reason}");
    // With the weights beside it, it works here, and would not once it is stored.
    let copy = site.folder.path().join("external.onnx");
    std::fs::copy(&external, &copy).unwrap();
    std::fs::write(copy.with_file_name("weights.bin"), [0; 64]).unwrap();
    let labels: Vec<_> = (0..52).map(|class| format!("class {class}")).collect();
    std::fs::write(copy.with_extension("toml"), format!("labels = {labels:?}")).unwrap();
    let refused = inspect(&settings(), &copy, ModelId::for_name("external"));
    let reason = refused.unwrap_err().to_string();
    assert!(reason.contains("its weights in one file"), "{reason}");
    detector.stop().await;
    let small = site.detector(DetectorSettings { memory: MIB, ..settings() });
    let reason = check(&file, None).await;
    assert!(reason.contains("detector.memory"), "{reason}");
    small.stop().await;
}

#[tokio::test]
async fn a_model_that_needs_more_memory_than_allowed_waits_for_another_detector() {
    let mut site = Site::start().await;
    let boats = site.add("boats").await;
    site.publish(&boats, 2).await;
    let small = site.detector(DetectorSettings { memory: MIB, ..settings() });
    let refused = "moliceiro_detector_models_not_loaded_total";
    until("the model is refused for its memory", async || {
        assert!(!small.task.is_finished());
        small.figure(refused).filter(|n| n != "0")
    })
    .await;
    let large = site.detector(settings());
    assert_eq!(site.results().await[&boats], all(&boats, 2));
    site.assert_no_redelivery().await;
    small.stop().await;
    large.stop().await;
}

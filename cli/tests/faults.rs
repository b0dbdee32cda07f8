//! Whatever dies or is cut off in mid-run, the summary is the one of a run in which nothing did.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod support;

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use async_nats::jetstream;
use bytes::Bytes;
use futures_util::StreamExt;
use moliceiro_nats::messages::{
    Color, Detection, Encoding, Event, Frame, FrameResult, Letterbox, Matrix, Size, Summary, VideoEvent, VideoState, to_cbor,
};
use moliceiro_nats::{NatsSettings, Patience, VideoId, connect};
use rustix::process::Signal;
use support::proxy::{Proxy, Weather};
use support::{LONG, Process, Server, one_of_several, program, run, sample, summaries};
use tokio::time::{sleep, timeout};
use url::Url;

const VIDEO: &str = "carphone_pristine.mp4";
const FRAMES: u64 = 120;
/// What died has to be given up soon, or the tests wait.
const IMPATIENT: [&str; 4] = ["--set", "streams.frame_ack_wait=1s", "--set", "streams.upload_ack_wait=1s"];

/// What must not depend on faults.
type Counts = (VideoState, u64, u64, BTreeMap<String, u64>);

fn counts(summary: &Summary) -> Counts {
    (summary.state, summary.processed_frames, summary.failed_frames, summary.classes.clone())
}

/// The counts of a run in which nothing goes wrong, with frames encoded as the services do.
fn faultless() -> Counts {
    static FAULTLESS: OnceLock<Counts> = OnceLock::new();
    let count = || {
        let data = tempfile::tempdir().unwrap();
        let video = sample(VIDEO);
        let arguments = ["--json", "--set", "ingest.encoding=jpeg", video.to_str().unwrap()];
        let summary = summaries(&Process::start(run(data.path()).args(arguments)).expect_code(0)).remove(0);
        assert_eq!((summary.processed_frames, summary.failed_frames), (FRAMES, 0));
        counts(&summary)
    };
    FAULTLESS.get_or_init(count).clone()
}

/// A server, and programs that use it.
struct Site {
    url: String,
    settings: Vec<String>,
}

impl Site {
    fn new(url: String, settings: &[&str]) -> Self {
        let given = IMPATIENT.iter().chain(settings).map(|s| (*s).to_owned());
        Self { url, settings: given.chain(one_of_several()).collect() }
    }

    fn start(&self, service: &str) -> Process {
        let mut command = Command::new(program(&format!("moliceiro-{service}")));
        Process::start(command.args(["--nats", &self.url, "--log", "debug"]).args(&self.settings))
    }

    /// As [`Site::start`], and waits until it has its streams.
    fn ready(&self, service: &str) -> Process {
        let process = self.start(service);
        process.wait_for_stderr("is ready", 1);
        process
    }

    async fn client(&self) -> async_nats::Client {
        let settings = NatsSettings { url: self.url.clone(), credentials: None };
        connect(&settings, "test", Patience::WaitForServer).await.unwrap()
    }

    async fn upload(&self, name: &str) {
        let uri = Url::from_file_path(sample(VIDEO)).unwrap();
        let upload = format!(r#"{{"uri": "{uri}", "name": "{name}"}}"#);
        let jetstream = jetstream::new(self.client().await);
        jetstream.publish("videos.upload", upload.into()).await.unwrap().await.unwrap();
    }

    /// Waits until so many videos have a summary.
    async fn summaries(&self, n: usize) -> Vec<Summary> {
        let jetstream = jetstream::new(self.client().await);
        let stream = jetstream.get_stream("SUMMARIES").await.unwrap();
        let consumer = stream.create_consumer(jetstream::consumer::pull::Config::default()).await.unwrap();
        let mut messages = consumer.messages().await.unwrap();
        let mut found = Vec::new();
        while found.len() < n {
            let next = timeout(LONG, messages.next()).await.unwrap_or_else(|_| panic!("only {found:#?}"));
            match next.unwrap() {
                Ok(message) => {
                    found.push(serde_json::from_slice(&message.payload).unwrap());
                    message.ack().await.unwrap();
                }
                // The server may be away for a while.
                Err(_) => sleep(Duration::from_millis(100)).await,
            }
        }
        found
    }

    async fn assert_faultless(&self) {
        let expected = faultless();
        assert_eq!(counts(&self.summaries(1).await[0]), expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_detector_killed_in_mid_frame_three_times() {
    let server = Server::start();
    let site = Site::new(server.url(), &["--set", "detector.sessions=1"]);
    let _others = ["aggregator", "ingest"].map(|service| site.ready(service));
    site.upload(VIDEO).await;
    for _ in 0..3 {
        let detector = site.start("detector");
        detector.wait_for_stderr("frame done", 8);
        detector.signal(Signal::KILL);
    }
    let _last = site.start("detector");
    site.assert_faultless().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_aggregator_killed_at_many_instants() {
    let server = Server::start();
    let site = Site::new(server.url(), &["--set", "aggregator.linger=10ms"]);
    let _others = ["detector", "ingest"].map(|service| site.ready(service));
    site.upload(VIDEO).await;
    for milliseconds in [60, 150, 230, 310, 90, 420, 180, 270] {
        let aggregator = site.ready("aggregator");
        sleep(Duration::from_millis(milliseconds)).await;
        aggregator.signal(Signal::KILL);
    }
    let _last = site.start("aggregator");
    site.assert_faultless().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ingest_killed_while_decoding_and_another_takes_over() {
    let server = Server::start();
    // A short queue keeps the ingest waiting for the detector, in the middle of the video.
    let site = Site::new(server.url(), &["--set", "streams.frames_max_per_video=8"]);
    let [_aggregator, detector] = ["aggregator", "detector"].map(|service| site.ready(service));
    let first = site.ready("ingest");
    site.upload(VIDEO).await;
    detector.wait_for_stderr("frame done", 30);
    first.signal(Signal::KILL);
    let _second = site.start("ingest");
    site.assert_faultless().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_killed_and_restarted_on_its_store_twice() {
    let mut server = PlainServer::start();
    let site = Site::new(server.url(), &["--set", "streams.frames_max_per_video=8"]);
    let [_aggregator, detector, _ingest] = ["aggregator", "detector", "ingest"].map(|service| site.ready(service));
    site.upload(VIDEO).await;
    for done in [20, 60] {
        detector.wait_for_stderr("frame done", done);
        server.kill_and_restart();
    }
    site.assert_faultless().await;
}

/// A server on a port of its own choice that it keeps when it is started again.
struct PlainServer {
    folder: tempfile::TempDir,
    port: u16,
    process: Process,
}

impl PlainServer {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let process = Self::spawn(&folder, port);
        Self { folder, port, process }
    }

    fn spawn(folder: &tempfile::TempDir, port: u16) -> Process {
        let config = folder.path().join("server.conf");
        let store = folder.path().join("store");
        let text = format!("listen: 127.0.0.1:{port}\njetstream {{ store_dir: {store:?}, sync_interval: always }}\n");
        std::fs::write(&config, text).unwrap();
        let process = Process::start(Command::new(support::nats_server()).arg("--config").arg(&config));
        process.wait_for_stderr("Server is ready", 1);
        process
    }

    fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    fn kill_and_restart(&mut self) {
        self.process.signal(Signal::KILL);
        self.process.wait();
        self.process = Self::spawn(&self.folder, self.port);
    }
}

/// A site whose services reach the server through a proxy.
async fn behind_proxy(server: &Server, settings: &[&str]) -> (Proxy, Site) {
    let url = server.url();
    let (login, address) = url.rsplit_once('@').unwrap();
    let proxy = Proxy::start(address.to_owned()).await;
    let site = Site::new(format!("{login}@{}", proxy.address), settings);
    (proxy, site)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_cut_for_ten_seconds() {
    let server = Server::start();
    let (proxy, site) = behind_proxy(&server, &["--set", "streams.frames_max_per_video=8"]).await;
    let [_aggregator, detector, _ingest] = ["aggregator", "detector", "ingest"].map(|service| site.ready(service));
    site.upload(VIDEO).await;
    detector.wait_for_stderr("frame done", 20);
    proxy.set(Weather::Cut);
    sleep(Duration::from_secs(10)).await;
    proxy.set(Weather::Fair { latency: Duration::ZERO });
    site.assert_faultless().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn latency_of_200_milliseconds_with_resets() {
    let server = Server::start();
    let (proxy, site) = behind_proxy(&server, &[]).await;
    proxy.set(Weather::Fair { latency: Duration::from_millis(200) });
    let [_aggregator, detector, _ingest] = ["aggregator", "detector", "ingest"].map(|service| site.ready(service));
    site.upload(VIDEO).await;
    for done in [10, 40, 70] {
        detector.wait_for_stderr("frame done", done);
        proxy.reset();
    }
    site.assert_faultless().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_service_told_to_end_in_turn() {
    let server = Server::start();
    let site = Site::new(server.url(), &["--set", "streams.frames_max_per_video=8"]);
    let mut running = BTreeMap::new();
    for service in ["aggregator", "detector", "ingest"] {
        running.insert(service, site.ready(service));
    }
    site.upload(VIDEO).await;
    running["detector"].wait_for_stderr("frame done", 5);
    for service in ["ingest", "detector", "aggregator", "ingest"] {
        let mut old = running.remove(service).unwrap();
        old.signal(Signal::TERM);
        old.expect_code(0);
        running.insert(service, site.ready(service));
    }
    site.assert_faultless().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_queue_so_short_that_ingest_mostly_waits() {
    let server = Server::start();
    let site = Site::new(server.url(), &["--set", "streams.frames_max_per_video=1"]);
    let _all = ["aggregator", "detector", "ingest"].map(|service| site.ready(service));
    site.upload(VIDEO).await;
    site.assert_faultless().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ack_wait_shorter_than_a_frame_waits_in_hand() {
    let server = Server::start();
    let site = Site::new(server.url(), &["--set", "streams.frame_ack_wait=100ms"]);
    let _all = ["aggregator", "detector", "ingest"].map(|service| site.ready(service));
    site.upload(VIDEO).await;
    site.assert_faultless().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn detectors_that_come_late() {
    let server = Server::start();
    let site = Site::new(server.url(), &[]);
    let _others = ["aggregator", "ingest"].map(|service| site.ready(service));
    site.upload(VIDEO).await;
    let mut early = site.start("detector");
    early.wait_for_stderr("frame done", 20);
    early.signal(Signal::TERM);
    early.expect_code(0);
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(10) {
        sleep(Duration::from_secs(1)).await;
        let jetstream = jetstream::new(site.client().await);
        let frames = jetstream.get_stream("FRAMES").await.unwrap().get_info().await.unwrap();
        assert!(frames.state.messages > 0, "frames wait in the queue while there is no detector");
    }
    let _late = site.start("detector");
    site.assert_faultless().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_videos_at_once_some_of_the_same_name() {
    let server = Server::start();
    let site = Site::new(server.url(), &["--set", "ingest.every=6"]);
    let _all = ["aggregator", "detector", "ingest"].map(|service| site.ready(service));
    for number in 0..20 {
        site.upload(if number % 4 == 0 { "same name" } else { VIDEO }).await;
    }
    let found = site.summaries(20).await;
    let videos: std::collections::BTreeSet<_> = found.iter().map(|summary| summary.video.clone()).collect();
    assert_eq!(videos.len(), 20);
    for summary in &found {
        assert_eq!(summary.processed_frames, FRAMES / 6);
        assert_eq!(counts(summary), counts(&found[0]));
    }
    assert_eq!(found.iter().filter(|summary| summary.name == "same name").count(), 5);
}

/// A frame that claims to be of a video, as a faulty sender might make it.
fn poison(video: &VideoId, index: u64) -> Frame {
    let size = Size { width: 416, height: 416 };
    Frame {
        version: 1,
        video: video.clone(),
        index,
        pts: None,
        encoding: Encoding::Jpeg,
        size,
        letterbox: Letterbox { source: size, left: 0, top: 0, content: size },
        color: Color { matrix: Matrix::Bt601, full_range: false },
        pixels: b"this is no JPEG".to_vec(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_that_mean_nothing_harm_nothing() {
    let server = Server::start();
    let site = Site::new(server.url(), &[]);
    let all = ["aggregator", "detector", "ingest"].map(|service| site.ready(service));
    let jetstream = jetstream::new(site.client().await);
    let publish = async |subject: String, id: Option<String>, payload: Bytes| {
        let message = jetstream::message::PublishMessage::build().payload(payload);
        let message = match id {
            Some(id) => message.message_id(id),
            None => message,
        };
        jetstream.send_publish(subject, message).await.unwrap().await.unwrap();
    };
    site.upload(VIDEO).await;
    // The id is made by the server's clock, so it is looked up where it is first said.
    let mut watch = jetstream.get_key_value("videos").await.unwrap().watch_all_from_revision(1).await.unwrap();
    let entry = timeout(LONG, watch.next()).await.unwrap().unwrap().unwrap();
    let video = VideoId::try_from(entry.key).unwrap();
    let nobody = VideoId::for_name("nobody", "1");
    let result = |video: &VideoId, index: u64| {
        let detections = vec![Detection { label: "ghost".into(), score: 1.0, bounds: [0.0; 4] }];
        let result = FrameResult { index, pts: None, detections, size: None, processing_us: 1, detector: "test".into() };
        Bytes::from(to_cbor(&VideoEvent::new(video.clone(), Event::Frame(result)), 64))
    };
    publish(format!("results.{video}"), None, "no CBOR".into()).await;
    publish(format!("results.{video}"), None, result(&nobody, 0)).await;
    publish(format!("results.{video}"), None, result(&video, 1_000_000)).await;
    publish(format!("results.{nobody}"), None, result(&nobody, 0)).await;
    publish(format!("frames.{video}"), None, "no CBOR and no identity".into()).await;
    publish(format!("frames.{nobody}"), Some(format!("{nobody}/0")), "no CBOR".into()).await;
    publish(format!("frames.{nobody}"), Some(format!("{nobody}/1")), poison(&nobody, 1).to_cbor().into()).await;
    publish(format!("frames.{nobody}"), Some(format!("{nobody}/2")), poison(&nobody, 7).to_cbor().into()).await;
    site.assert_faultless().await;
    all[1].wait_for_stderr("giving up a frame", 3);
    all[0].wait_for_stderr("dropping a malformed result", 2);
    all[0].wait_for_stderr("nobody knows its video", 1);
    let dead = jetstream.get_stream("DEAD").await.unwrap().get_info().await.unwrap();
    assert_eq!(dead.state.messages, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_that_cannot_be_looked_at_is_counted_as_failed() {
    let server = Server::start();
    let site = Site::new(server.url(), &["--set", "streams.duplicate_window=500ms"]);
    // The detector comes when the ingest is done: one frame's payload is exchanged for another between them.
    let _others = ["aggregator", "ingest"].map(|service| site.ready(service));
    site.upload(VIDEO).await;
    let jetstream = jetstream::new(site.client().await);
    let frames = jetstream.get_stream("FRAMES").await.unwrap();
    let found = async {
        loop {
            if let Ok(message) = frames.get_raw_message(50).await {
                return message;
            }
            sleep(Duration::from_millis(50)).await;
        }
    };
    let message = timeout(LONG, found).await.unwrap();
    let mut frame = Frame::from_cbor(&message.payload).unwrap();
    frame.pixels.truncate(100);
    frames.delete_message(50).await.unwrap();
    let spoiled = Bytes::from(frame.to_cbor());
    let stored = async {
        loop {
            // Until the server has forgotten the first one's id.
            let mut headers = async_nats::HeaderMap::new();
            headers.insert("Nats-Msg-Id", format!("{}/{}", frame.video, frame.index));
            let publish = jetstream.publish_with_headers(message.subject.clone(), headers, spoiled.clone());
            if !publish.await.unwrap().await.unwrap().duplicate {
                return;
            }
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(LONG, stored).await.unwrap();
    let _detector = site.start("detector");
    let summary = site.summaries(1).await.remove(0);
    assert_eq!((summary.state, summary.processed_frames, summary.failed_frames), (VideoState::Done, FRAMES - 1, 1));
    assert_eq!(summary.failed[0].index, frame.index);
    assert!(summary.failed[0].reason.contains("pixels"), "{summary:?}");
    let dead = jetstream.get_stream("DEAD").await.unwrap();
    let dead = dead.get_last_raw_message_by_subject(&format!("dead.{}", frame.video)).await.unwrap();
    assert_eq!(dead.payload, spoiled, "its payload is kept");
}

/// Every result comes again without its id, long after or just before others, as after a fault between sending and its
/// acknowledgement.
#[tokio::test(flavor = "multi_thread")]
async fn results_that_come_twice_and_in_any_order() {
    let server = Server::start();
    let site = Site::new(server.url(), &[]);
    let _all = ["aggregator", "detector", "ingest"].map(|service| site.ready(service));
    let client = site.client().await;
    let mut results = client.subscribe("results.*").await.unwrap();
    let echo = tokio::spawn(async move {
        let mut kept = Vec::new();
        let mut echoed = std::collections::BTreeSet::new();
        while let Some(message) = results.next().await {
            if !echoed.insert(message.payload.clone()) {
                continue;
            }
            kept.push((message.subject, message.payload));
            // Reversed in groups: an echo of a later result comes before that of an earlier one.
            if kept.len() >= 7 {
                for (subject, payload) in kept.drain(..).rev() {
                    client.publish(subject, payload).await.unwrap();
                }
            }
        }
    });
    site.upload(VIDEO).await;
    site.assert_faultless().await;
    echo.abort();
}

fn dead(site: &Site, arguments: &[&str]) -> Vec<String> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_moliceiro"));
    Process::start(command.arg("dead").args(arguments).args(["--nats", &site.url]).args(&site.settings)).expect_code(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_that_ran_out_of_deliveries_are_kept_shown_replayed_and_counted_after_all() {
    let server = Server::start();
    let site = Site::new(server.url(), &["--set", "streams.frame_max_deliver=1"]);
    let [aggregator, detector, _ingest] = ["aggregator", "detector", "ingest"].map(|service| site.ready(service));
    site.upload(VIDEO).await;
    detector.wait_for_stderr("frame done", 20);
    detector.signal(Signal::KILL);
    let _second = site.ready("detector");
    let summary = site.summaries(1).await.remove(0);
    assert_eq!((summary.state, summary.processed_frames + summary.failed_frames), (VideoState::Done, FRAMES));
    assert!(summary.failed_frames > 0, "{summary:?}");
    assert!(summary.failed[0].reason.contains("no detector finished it"), "{summary:?}");

    let video = summary.video.as_str();
    let listed = dead(&site, &["list"]);
    // A frame whose result was stored a moment before the detector died ran out of deliveries too, and counts.
    assert!(listed.len() as u64 >= summary.failed_frames, "{listed:#?}");
    let first = summary.failed[0].index.to_string();
    assert!(listed.iter().any(|line| line.starts_with(&format!("{video}\t{first}\t1\t"))), "{listed:#?}");

    let folder = tempfile::tempdir().unwrap();
    let image = folder.path().join("frame.jpg");
    dead(&site, &["show", video, &first, "--output", image.to_str().unwrap()]);
    let probed =
        Command::new("ffprobe").args(["-v", "error", "-show_entries", "stream=width,height", "-of", "csv=p=0"]).arg(&image).output();
    assert_eq!(String::from_utf8(probed.unwrap().stdout).unwrap().trim(), "416,416");

    assert_eq!(dead(&site, &["replay", video]).len(), listed.len());
    assert!(dead(&site, &["list"]).is_empty());
    // A correction for each frame, or for several together.
    let corrected = async {
        for n in 2.. {
            let summary = site.summaries(n).await.remove(n - 1);
            if summary.failed_frames == 0 {
                return summary;
            }
        }
        unreachable!("corrections end")
    };
    let corrected = timeout(LONG, corrected).await.unwrap();
    assert_eq!(counts(&corrected), faultless());
    assert_eq!(corrected.corrections, summary.failed_frames);
    aggregator.wait_for_stdout(12);
    assert!(aggregator.stdout().contains(&format!("{VIDEO} (corrected)")));
}

//! A server and the services that use it, and what they are to make of the sample video.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use async_nats::jetstream;
use futures_util::StreamExt;
use moliceiro_nats::messages::{Summary, VideoState};
use moliceiro_nats::{NatsSettings, Patience, connect};
use rustix::process::Signal;
use serde_json::json;
use tokio::time::{sleep, timeout};
use url::Url;

use super::proxy::Proxy;
use super::{LONG, Process, nats_server, program, run, sample, summaries};

pub const VIDEO: &str = "carphone_pristine.mp4";
pub const FRAMES: u64 = 120;
/// What died has to be given up soon, or the tests wait.
pub const IMPATIENT: [&str; 4] =
    ["--set", "streams.frame_ack_wait=1s", "--set", "streams.upload_ack_wait=1s"];

/// What must not depend on faults.
pub type Counts = (VideoState, u64, u64, BTreeMap<String, u64>);

pub fn counts(summary: &Summary) -> Counts {
    (summary.state, summary.processed_frames, summary.failed_frames, summary.classes.clone())
}

/// The counts of a run in which nothing goes wrong, with frames encoded as the services do.
pub fn faultless_of(video: &Path, every: u64) -> Counts {
    faultless_with(video, every, &[])
}

/// As [`faultless_of`], with settings.
pub fn faultless_with(video: &Path, every: u64, settings: &[&str]) -> Counts {
    let data = tempfile::tempdir().unwrap();
    let arguments = [
        "--json",
        "--set",
        "ingest.encoding=jpeg",
        "--every",
        &every.to_string(),
        video.to_str().unwrap(),
    ];
    let summary =
        summaries(&Process::start(run(data.path()).args(arguments).args(settings)).expect_code(0))
            .remove(0);
    assert_eq!((summary.state, summary.failed_frames), (VideoState::Done, 0));
    counts(&summary)
}

/// As [`faultless_of`], of [`VIDEO`].
pub fn faultless() -> Counts {
    static FAULTLESS: OnceLock<Counts> = OnceLock::new();
    FAULTLESS.get_or_init(|| faultless_of(&sample(VIDEO), 1)).clone()
}

/// A server, and programs that use it.
pub struct Site {
    pub url: String,
    pub settings: Vec<String>,
}

impl Site {
    pub fn new(url: String, settings: &[&str]) -> Self {
        Self { url, settings: IMPATIENT.iter().chain(settings).map(|s| (*s).to_owned()).collect() }
    }

    /// A site whose services reach the server through a proxy.
    pub async fn behind_proxy(server_url: &str, settings: &[&str]) -> (Proxy, Self) {
        let address = Url::parse(server_url).unwrap();
        let proxy = Proxy::start(format!("127.0.0.1:{}", address.port().unwrap())).await;
        let mut url = address;
        url.set_port(Some(proxy.address.port())).unwrap();
        (proxy, Self::new(url.to_string(), settings))
    }

    pub fn start(&self, service: &str) -> Process {
        self.start_with(service, &[])
    }

    pub fn start_with(&self, service: &str, settings: &[&str]) -> Process {
        let mut command = Command::new(program(&format!("moliceiro-{service}")));
        Process::start(
            command
                .args(["--nats", &self.url, "--log", "debug"])
                .args(&self.settings)
                .args(settings),
        )
    }

    /// As [`Site::start`], and waits until it has its streams.
    pub fn ready(&self, service: &str) -> Process {
        let process = self.start(service);
        process.wait_for_stderr("is ready", 1);
        process
    }

    pub async fn client(&self) -> async_nats::Client {
        let settings = NatsSettings { url: self.url.clone(), credentials: None };
        connect(&settings, "test", Patience::WaitForServer).await.unwrap()
    }

    /// Uploads [`VIDEO`].
    pub async fn upload(&self, name: &str) {
        self.upload_file(&sample(VIDEO), name).await;
    }

    pub async fn upload_file(&self, video: &Path, name: &str) {
        self.upload_json(&json!({"uri": Url::from_file_path(video).unwrap(), "name": name})).await;
    }

    pub async fn upload_json(&self, upload: &serde_json::Value) {
        let jetstream = jetstream::new(self.client().await);
        jetstream.publish("videos.upload", upload.to_string().into()).await.unwrap().await.unwrap();
    }

    /// Waits until so many videos have a summary.
    pub async fn summaries(&self, n: usize) -> Vec<Summary> {
        let jetstream = jetstream::new(self.client().await);
        let stream = jetstream.get_stream("SUMMARIES").await.unwrap();
        let config = jetstream::consumer::pull::Config {
            filter_subject: "summaries.*".into(),
            ..Default::default()
        };
        let consumer = stream.create_consumer(config).await.unwrap();
        let mut messages = consumer.messages().await.unwrap();
        let mut found = Vec::new();
        while found.len() < n {
            let next =
                timeout(LONG, messages.next()).await.unwrap_or_else(|_| panic!("only {found:#?}"));
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

    pub async fn assert_faultless(&self) {
        self.assert_counts(&faultless()).await;
    }

    /// The only video has this summary and, when nobody has anything to do any more, no other.
    pub async fn assert_counts(&self, expected: &Counts) {
        assert_eq!(counts(&self.summaries(1).await[0]), *expected);
        let jetstream = jetstream::new(self.client().await);
        let settled = async {
            while !self.is_settled(&jetstream).await.unwrap_or(false) {
                sleep(Duration::from_millis(50)).await;
            }
        };
        timeout(LONG, settled).await.expect("somebody still has something to do");
        let mut summaries = jetstream
            .get_stream("SUMMARIES")
            .await
            .unwrap()
            .info_with_subjects("summaries.*")
            .await
            .unwrap();
        let mut messages = 0;
        while let Some(subject) = summaries.next().await {
            messages += subject.unwrap().1;
        }
        assert_eq!(messages, 1, "summaries");
    }

    /// Whether nothing waits for a service. An error says that the server was out of reach.
    async fn is_settled(&self, jetstream: &jetstream::Context) -> Result<bool, async_nats::Error> {
        for stream in ["UPLOADS", "FRAMES", "ADVISORIES"] {
            if jetstream.get_stream(stream).await?.cached_info().state.messages > 0 {
                return Ok(false);
            }
        }
        let results = jetstream
            .get_consumer_from_stream::<jetstream::consumer::pull::Config, _, _>(
                "aggregator",
                "RESULTS",
            )
            .await?;
        Ok(results.cached_info().num_pending == 0 && results.cached_info().num_ack_pending == 0)
    }
}

/// A server on a port of its own choice that it keeps when it is started again.
pub struct PlainServer {
    folder: tempfile::TempDir,
    port: u16,
    process: Process,
}

impl PlainServer {
    pub fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let process = Self::spawn(&folder, port);
        Self { folder, port, process }
    }

    fn spawn(folder: &tempfile::TempDir, port: u16) -> Process {
        let config = folder.path().join("server.conf");
        let store = folder.path().join("store");
        let text = format!(
            "listen: 127.0.0.1:{port}\njetstream {{ store_dir: {store:?}, sync_interval: always }}\n"
        );
        std::fs::write(&config, text).unwrap();
        let process = Process::start(Command::new(nats_server()).arg("--config").arg(&config));
        process.wait_for_stderr("Server is ready", 1);
        process
    }

    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    pub fn kill_and_restart(&mut self) {
        self.kill();
        self.restart();
    }

    pub fn kill(&mut self) {
        self.process.signal(Signal::KILL);
        self.process.wait();
    }

    pub fn restart(&mut self) {
        self.process = Self::spawn(&self.folder, self.port);
    }
}

//! How to start services on a server and talk to them, and what they must count in the sample
//! video.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};

use async_nats::jetstream;
use futures_util::StreamExt;
use moliceiro_nats::messages::{Summary, VideoState};
use moliceiro_nats::{Patience, connect};
use serde_json::json;
use tokio::time::{sleep, timeout};
use url::Url;

use crate::paths::sample;
use crate::process::{self, Process, SLOWER, run, summaries};
use crate::proxy::Proxy;
use crate::video::file_uri;
use crate::{HANG_GUARD, POLL, server, until};

pub const VIDEO: &str = "carphone_pristine.mp4";
pub const FRAMES: u64 = 120;
/// Short, so that what a killed process held is redelivered soon.
pub const IMPATIENT: [&str; 4] =
    ["--set", "streams.frame_ack_wait=1s", "--set", "streams.upload_ack_wait=1s"];

/// What must not depend on faults: state, processed and failed frames, objects of each class.
pub type Counts = (VideoState, u64, u64, BTreeMap<String, u64>);

pub fn counts(summary: &Summary) -> Counts {
    (summary.state, summary.processed_frames, summary.failed_frames, summary.classes.clone())
}

/// The counts of a run without faults, with frames encoded as the services do.
pub fn without_faults_of(video: &Path, every: u64) -> Counts {
    without_faults_with(video, every, &[])
}

/// As [`without_faults_of`], with settings. Several tests of a binary compare with the same run, which is
/// made once.
pub fn without_faults_with(video: &Path, every: u64, settings: &[&str]) -> Counts {
    type Runs = BTreeMap<(PathBuf, u64, String), Arc<OnceLock<Counts>>>;
    static RUNS: Mutex<Runs> = Mutex::new(Runs::new());
    let key = (video.to_owned(), every, settings.join(" "));
    let run = RUNS.lock().unwrap().entry(key).or_default().clone();
    run.get_or_init(|| run_without_faults(video, every, settings)).clone()
}

fn run_without_faults(video: &Path, every: u64, settings: &[&str]) -> Counts {
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
        Process::start(run(data.path()).args(arguments).args(SLOWER).args(settings)).expect_code(0);
    let summary = summaries(&summary).remove(0);
    assert_eq!((summary.state, summary.failed_frames), (VideoState::Done, 0));
    counts(&summary)
}

/// As [`without_faults_of`], of [`VIDEO`].
pub fn without_faults() -> Counts {
    without_faults_of(&sample(VIDEO), 1)
}

/// How to start services on a server, and talk to them. Frames are as large as [`SLOWER`] says, so
/// that there is time for faults.
pub struct Deployment {
    pub url: String,
    pub settings: Vec<String>,
}

impl Deployment {
    pub fn new(url: String, settings: &[&str]) -> Self {
        let settings = IMPATIENT.iter().chain(&SLOWER).chain(settings);
        Self { url, settings: settings.map(|setting| (*setting).to_owned()).collect() }
    }

    /// As [`Self::new`], with services that reach the server through a proxy.
    pub async fn behind_proxy(server_url: &str, settings: &[&str]) -> (Proxy, Self) {
        let mut url = Url::parse(server_url).unwrap();
        let (host, port) = (url.host_str().unwrap(), url.port().unwrap());
        let proxy = Proxy::start(format!("{host}:{port}")).await;
        url.set_ip_host(proxy.address.ip()).unwrap();
        url.set_port(Some(proxy.address.port())).unwrap();
        (proxy, Self::new(url.to_string(), settings))
    }

    pub fn start(&self, service: &str) -> Process {
        self.start_with(service, &[])
    }

    pub fn start_with(&self, service: &str, settings: &[&str]) -> Process {
        Process::start(
            process::service(service)
                .args(["--nats", &self.url, "--log", "debug"])
                .args(&self.settings)
                .args(settings),
        )
    }

    /// As [`Self::start`], and waits until it is ready.
    pub fn ready(&self, service: &str) -> Process {
        let process = self.start(service);
        process.wait_for_stderr("is ready", 1);
        process
    }

    /// Adds a model file, and returns its id.
    pub fn add_model(&self, file: &Path) -> String {
        let mut command = process::moliceiro();
        let command = command.args(["model", "add", "--nats", &self.url]).arg(file);
        Process::start(command.args(["--name", "added"])).expect_code(0).remove(0)
    }

    pub async fn client(&self) -> async_nats::Client {
        connect(&server::settings(&self.url), "test", Patience::WaitForServer).await.unwrap()
    }

    pub async fn jetstream(&self) -> jetstream::Context {
        jetstream::new(self.client().await)
    }

    /// Uploads [`VIDEO`].
    pub async fn upload(&self, name: &str) {
        self.upload_file(&sample(VIDEO), name).await;
    }

    pub async fn upload_file(&self, video: &Path, name: &str) {
        self.upload_json(&json!({"uri": file_uri(video), "name": name})).await;
    }

    pub async fn upload_json(&self, upload: &serde_json::Value) {
        let jetstream = self.jetstream().await;
        jetstream.publish("videos.upload", upload.to_string().into()).await.unwrap().await.unwrap();
    }

    /// Waits until `n` summaries are published, and returns them in order.
    pub async fn summaries(&self, n: usize) -> Vec<Summary> {
        let jetstream = self.jetstream().await;
        let stream = jetstream.get_stream("SUMMARIES").await.unwrap();
        let config = jetstream::consumer::pull::Config {
            filter_subject: "summaries.*".into(),
            ..Default::default()
        };
        let consumer = stream.create_consumer(config).await.unwrap();
        let mut messages = consumer.messages().await.unwrap();
        let mut found = Vec::new();
        while found.len() < n {
            let next = timeout(HANG_GUARD, messages.next())
                .await
                .unwrap_or_else(|_| panic!("only {found:#?}"));
            match next.unwrap() {
                Ok(message) => {
                    found.push(serde_json::from_slice(&message.payload).unwrap());
                    message.ack().await.unwrap();
                }
                // The server may be down.
                Err(_) => sleep(POLL).await,
            }
        }
        found
    }

    /// Asserts that the only video is [`VIDEO`], counted as without faults.
    pub async fn assert_unharmed(&self) {
        self.assert_counts(&without_faults()).await;
    }

    /// Asserts that the only video has this summary and, once nothing is pending, no other.
    pub async fn assert_counts(&self, expected: &Counts) {
        assert_eq!(counts(&self.summaries(1).await[0]), *expected);
        let jetstream = self.jetstream().await;
        until("nothing is pending", async || {
            self.is_settled(&jetstream).await.unwrap_or(false).then_some(())
        })
        .await;
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

    /// Whether nothing is pending for any service. An error means that the server is unreachable.
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

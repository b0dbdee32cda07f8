//! A whole pipeline in processes of its own, with its own server and store.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::Duration;

use anyhow::{Context, bail};
use moliceiro_nats::embedded::EmbeddedServer;
use moliceiro_nats::messages::ModelId;
use moliceiro_nats::{NatsSettings, Patience, Streams, StreamsSettings, connect};
use tempfile::TempDir;
use tokio::time::Instant;

use crate::child::EmbeddedReady;
use crate::process::{Process, StopBy};
use crate::setup::Setup;
use crate::usage::MeasuredProcess;

const PUBLISHES_IN_FLIGHT: usize = 256;
const WARM_UP_TIMEOUT: Duration = Duration::from_secs(60);
const WARM_UP_POLL_INTERVAL: Duration = Duration::from_millis(5);

/// Running services, and the server that connects them.
pub(crate) struct Pipeline {
    model: ModelId,
    pub(crate) processes: Vec<Process>,
    pub(crate) streams: Streams,
    /// Where the services serve their metrics; empty if they do not.
    pub(crate) endpoints: Vec<SocketAddr>,
    server_pid: i32,
    server: Option<EmbeddedServer>,
    folder: TempDir,
}

/// Which services a pipeline has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ServiceSet {
    pub(crate) ingest: bool,
    pub(crate) detectors: usize,
    pub(crate) aggregator: bool,
    /// Whether they serve their metrics.
    pub(crate) metrics: bool,
}

impl ServiceSet {
    pub(crate) fn all(detectors: usize, metrics: bool) -> Self {
        Self { ingest: true, detectors, aggregator: true, metrics }
    }
}

impl Pipeline {
    /// Starts everything in one process, as `moliceiro run` does.
    pub(crate) async fn embedded(setup: &Setup, detectors: usize) -> anyhow::Result<Self> {
        let folder = setup.folder().context("cannot make a folder for the store")?;
        let own = [
            "--data".into(),
            folder.path().join("store").display().to_string(),
            "--nats-server".into(),
            setup.nats_server.display().to_string(),
            "--detectors".into(),
            detectors.to_string(),
            "--set".into(),
            "detector.threads=1".into(),
            "--set".into(),
            setup.allow_videos(),
        ];
        let mut process = Process::start(
            "moliceiro",
            StopBy::ClosingInput,
            setup.call(&["bench-child", "embedded"], &own),
            folder.path(),
        )?;
        process.by_thread = true;
        let EmbeddedReady { url, server } = process.until_ready().await?;
        let streams = open(setup, &url).await?;
        let mut pipeline = Self {
            processes: vec![process],
            model: setup.model.id.clone(),
            streams,
            endpoints: vec![],
            server_pid: server,
            server: None,
            folder,
        };
        // A process waits for frames with one pull, however many sessions it has.
        pipeline.until_warm(ServiceSet { detectors: 1, ..ServiceSet::all(1, false) }).await?;
        Ok(pipeline)
    }

    /// Starts each service in a process of its own, each detector with one session on one thread.
    pub(crate) async fn separate(setup: &Setup, services: ServiceSet) -> anyhow::Result<Self> {
        let folder = setup.folder().context("cannot make a folder for the store")?;
        let (program, store) = (setup.nats_server.clone(), folder.path().join("store"));
        let server =
            tokio::task::spawn_blocking(move || EmbeddedServer::start(&program, &store)).await??;
        let streams = open(setup, server.url()).await?;
        let (server_pid, url) = (server.process_id(), server.url().to_owned());
        let mut pipeline = Self {
            processes: vec![],
            model: setup.model.id.clone(),
            streams,
            endpoints: vec![],
            server_pid,
            server: Some(server),
            folder,
        };
        let size = setup.model.size;
        let ingest = [
            format!("ingest.width={}", size.width),
            format!("ingest.height={}", size.height),
            "http.listen=".into(),
            setup.allow_videos(),
        ];
        if services.ingest {
            pipeline.start_service(setup, "ingest", "ingest", &url, services.metrics, &ingest)?;
        }
        for n in 1..=services.detectors {
            let detector = ["detector.sessions=1".into(), "detector.threads=1".into()];
            pipeline.start_service(
                setup,
                "detector",
                &format!("detector {n}"),
                &url,
                services.metrics,
                &detector,
            )?;
        }
        if services.aggregator {
            pipeline.start_service(
                setup,
                "aggregator",
                "aggregator",
                &url,
                services.metrics,
                &["aggregator.output=none".into()],
            )?;
        }
        pipeline.until_warm(services).await?;
        Ok(pipeline)
    }

    /// Starts an aggregator, and does not wait until it is ready.
    pub(crate) fn start_aggregator(&mut self, setup: &Setup) -> anyhow::Result<()> {
        let url = self
            .server
            .as_ref()
            .map(|server| server.url().to_owned())
            .context("an embedded pipeline has its aggregator already")?;
        self.start_service(
            setup,
            "aggregator",
            "aggregator",
            &url,
            false,
            &["aggregator.output=none".into()],
        )
    }

    fn start_service(
        &mut self,
        setup: &Setup,
        command: &str,
        name: &str,
        url: &str,
        metrics: bool,
        settings: &[String],
    ) -> anyhow::Result<()> {
        let listen = if metrics {
            let address = free_address().context("cannot find a free port for metrics")?;
            self.endpoints.push(address);
            address.to_string()
        } else {
            "off".into()
        };
        let settings = settings.iter().cloned().chain([format!("metrics.listen={listen}")]);
        let own: Vec<_> = ["--nats".into(), url.to_owned()]
            .into_iter()
            .chain(settings.flat_map(|set| ["--set".into(), set]))
            .collect();
        self.processes.push(Process::start(
            name,
            StopBy::Sigterm,
            setup.call(&[command], &own),
            self.folder.path(),
        )?);
        Ok(())
    }

    /// Waits until each service pulls: then its model is loaded and its connection is up.
    async fn until_warm(&mut self, services: ServiceSet) -> anyhow::Result<()> {
        let deadline = Instant::now() + WARM_UP_TIMEOUT;
        let mut detectors = self.streams.detectors(&self.model).await?;
        let mut ingest = self.streams.ingest.clone();
        let mut aggregator = self.streams.aggregator.clone();
        loop {
            let pulls = [
                ingest.info().await?.num_waiting,
                detectors.info().await?.num_waiting,
                aggregator.info().await?.num_waiting,
            ];
            let needed = [
                usize::from(services.ingest),
                services.detectors,
                usize::from(services.aggregator),
            ];
            if pulls.iter().zip(needed).all(|(pulls, needed)| *pulls >= needed) {
                return Ok(());
            }
            self.processes.iter_mut().try_for_each(Process::check)?;
            if Instant::now() >= deadline {
                bail!("the services were not ready within {} s", WARM_UP_TIMEOUT.as_secs());
            }
            tokio::time::sleep(WARM_UP_POLL_INTERVAL).await;
        }
    }

    /// All processes to measure: the services, the server, and the benchmark itself.
    pub(crate) fn measured_processes(&self) -> anyhow::Result<Vec<MeasuredProcess>> {
        let own =
            |name: &str, pid| MeasuredProcess { name: name.to_owned(), pid, by_thread: false };
        let mut processes =
            self.processes.iter().map(Process::measured).collect::<Result<Vec<_>, _>>()?;
        processes.push(own("nats-server", self.server_pid));
        processes.push(own("bench", i32::try_from(std::process::id())?));
        Ok(processes)
    }

    /// Fails if a process has exited.
    pub(crate) fn check(&mut self) -> anyhow::Result<()> {
        self.processes.iter_mut().try_for_each(Process::check)
    }

    pub(crate) async fn stop(self) {
        futures_util::future::join_all(self.processes.into_iter().map(Process::stop)).await;
        if let Some(server) = self.server {
            // The next measurement starts a server of its own, whatever became of this one.
            tokio::task::spawn_blocking(|| server.stop()).await.ok();
        }
    }
}

async fn open(setup: &Setup, url: &str) -> anyhow::Result<Streams> {
    let nats = NatsSettings::at(url);
    let client = connect(&nats, "moliceiro-bench", Patience::FailAtOnce).await?;
    let settings: &StreamsSettings = &setup.streams;
    let streams = Streams::open(client, settings, PUBLISHES_IN_FLIGHT).await?;
    setup.model.add_to(&streams).await?;
    Ok(streams)
}

fn free_address() -> std::io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

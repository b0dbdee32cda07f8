//! Everything in one command: a private server, the services, the videos, and their summaries.

mod arguments;
mod follow;
mod progress;
mod services;
mod videos;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use moliceiro_nats::embedded::EmbeddedServer;
use moliceiro_nats::messages::{Cancelled, Event};
use moliceiro_nats::{NatsSettings, Patience, Streams, connect, subjects};
use moliceiro_service::{
    Settings, SettingsError, Telemetry, shutdown_on_signals, start_endpoint, start_logging_to,
};
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

pub use arguments::RunArguments;
use follow::{Audience, Followed};
use progress::Progress;
pub use services::{ServiceSettings, Services};
use videos::Plan;
pub use videos::{Request, requests};

const PUBLISHES_IN_FLIGHT: usize = 16;
/// Services finish what is in hand within this time, or are left.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(10);
/// The last frames of a live source may take so long to be counted.
const LIVE_TIMEOUT: Duration = Duration::from_secs(30);
/// What a shell reports of a program that Ctrl-C ended.
const INTERRUPTED: u8 = 130;

pub fn run(arguments: &RunArguments) -> anyhow::Result<ExitCode> {
    let requests = videos::requests(&arguments.videos)?;
    let wanted = arguments.wanted()?;
    let settings = arguments.settings()?;
    let services = services::ServiceSettings::read(&settings)?;
    let progress = Progress::new();
    start_logging_to(&services.base.log, progress.writer());
    // A model that cannot be used is told before anything is queued for it.
    moliceiro_detector::check(&services.detector)?;

    let server = arguments.start_server(&settings)?;
    let nats = match &server {
        Some(server) => NatsSettings { url: server.url().to_owned(), credentials: None },
        None => services.nats.clone(),
    };
    let runtime = Runtime::new().context("cannot start the async runtime")?;
    let session = Session {
        services: services.with_nats(nats),
        server,
        progress,
        json: arguments.json,
        wanted,
    };
    let code = runtime.block_on(session.run(requests));
    // Threads that are still busy with a frame are not waited for: the frame is not acknowledged,
    // and so not lost.
    runtime.shutdown_background();
    code
}

/// One run, from a server that is up to the last summary.
struct Session {
    services: services::ServiceSettings,
    server: Option<EmbeddedServer>,
    progress: Progress,
    json: bool,
    wanted: videos::Wanted,
}

impl Session {
    async fn run(mut self, requests: Vec<videos::Request>) -> anyhow::Result<ExitCode> {
        let interrupted = shutdown_on_signals().context("cannot watch for Ctrl-C")?;
        let counted = self.count(requests, &interrupted).await;
        if let Some(server) = self.server.take() {
            tokio::task::spawn_blocking(|| server.stop()).await.context("stopping nats-server")?;
        }
        self.progress.close();
        counted
    }

    async fn count(
        &mut self,
        requests: Vec<videos::Request>,
        interrupted: &CancellationToken,
    ) -> anyhow::Result<ExitCode> {
        let client = connect(&self.services.nats, "moliceiro-run", Patience::FailAtOnce).await?;
        let streams = Streams::open(client, &self.services.streams, PUBLISHES_IN_FLIGHT).await?;
        let audience = if self.server.is_some() { Audience::Private } else { Audience::Shared };
        let plan = Plan::make(&streams, requests, &self.wanted, audience).await?;
        let mut followed = Followed::open(&streams, audience, plan.videos()).await?;
        let listen = self.services.http.listen.clone();
        if followed.is_empty() && listen.is_empty() {
            anyhow::bail!(SettingsError::Invalid(vec![
                "no VIDEO is given, and no earlier run left one undone; see --help".into()
            ]));
        }
        plan.submit(&streams).await?;
        self.services.ingest.allow.extend_from_slice(plan.uris());
        if !listen.is_empty() {
            self.progress.say(&format!("taking videos at {listen} until Ctrl-C"));
        }

        let telemetry = Telemetry::default();
        let base = &self.services.base;
        start_endpoint(&base.metrics, base.metrics_port, telemetry.clone()).await?;
        let mut services = Services::start(&self.services, &telemetry);
        let end = tokio::select! {
            end = followed.until_all_counted(&self.progress, self.json, !listen.is_empty()) => end.map(Some),
            error = services.first_error() => Err(error),
            error = watch_server(&mut self.server) => Err(error),
            () = interrupted.cancelled() => Ok(None),
        };
        if matches!(end, Ok(None)) {
            self.stop_live(&streams, &mut followed).await?;
        }
        services.stop(SHUTDOWN_TIMEOUT).await;
        match end? {
            Some(true) => Ok(ExitCode::SUCCESS),
            Some(false) => Ok(ExitCode::FAILURE),
            None => {
                if let Some(farewell) = followed.farewell() {
                    self.progress.say(&farewell);
                }
                Ok(ExitCode::from(INTERRUPTED))
            }
        }
    }
}

impl Session {
    /// Ends the live sources, which nobody else would, and waits for the summaries of what was
    /// counted of them.
    async fn stop_live(&self, streams: &Streams, followed: &mut Followed) -> anyhow::Result<()> {
        let sources: Vec<_> = followed.live().cloned().collect();
        for source in &sources {
            let cancelled =
                Event::Cancelled(Cancelled { reason: "stopped by Ctrl-C or a signal".into() });
            let id = subjects::event_message_id(source, "cancelled");
            streams.publisher.publish_event(source, Some(&id), cancelled).await?;
        }
        match tokio::time::timeout(
            LIVE_TIMEOUT,
            followed.until_live_done(&self.progress, self.json),
        )
        .await
        {
            Ok(done) => done,
            Err(_) => {
                self.progress.say("the last frames of a live source are not counted yet; the next run counts them");
                Ok(())
            }
        }
    }
}

/// Ends when the private server does, which it should not.
async fn watch_server(server: &mut Option<EmbeddedServer>) -> anyhow::Error {
    const LOOK: Duration = Duration::from_millis(500);
    loop {
        tokio::time::sleep(LOOK).await;
        if let Some(status) = server.as_mut().and_then(EmbeddedServer::ended) {
            return anyhow::anyhow!(
                "nats-server ended by itself ({status}); run the same command again to go on"
            );
        }
    }
}

fn is_given(settings: &Settings, key: &str) -> bool {
    settings.origin(key).is_some()
}

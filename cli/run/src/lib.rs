//! `moliceiro run`: counts videos with everything in one process.
//!
//! What happens in a run, in the order of the files:
//!
//! 1. `arguments.rs` turns the command line into [settings](RunArguments::settings) and into the
//!    options of each upload (`options.rs`).
//! 2. `inputs.rs` turns each VIDEO into a URI and a name: [`VideoInput`]. `folder.rs` replaces
//!    folders by what is in them, and `names.rs` tells videos of the same name apart.
//!    `model.rs` finds the model that the command line names, or adds the file.
//! 3. `server.rs` starts the private NATS server, unless the settings name another server.
//! 4. `plan.rs` decides which videos this run follows: what is new, and what an earlier run left
//!    ([`Videos::unfinished`](moliceiro_nats::videos::Videos::unfinished)).
//! 5. `follower.rs` subscribes to summaries, alarms and video entries; only then the plan submits
//!    the new uploads, so that the follower misses nothing.
//! 6. `services.rs` runs ingest, detector and aggregator as tasks of this process: [`Services`].
//! 7. While they work, `progress.rs` draws bars on standard error. Each alarm and summary goes to
//!    standard output, in the format that the aggregator uses too and in the order of the videos.
//!
//! The benchmark measures the same pipeline, so [`VideoInput`], [`ServiceSettings`], [`Services`]
//! and [`RunArguments::start_server`] are public.

mod arguments;
mod folder;
mod follower;
mod inputs;
mod model;
mod names;
mod options;
mod plan;
mod progress;
mod server;
mod services;
mod tracking;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use moliceiro_aggregator::OutputFormat;
use moliceiro_detector::DetectorError;
use moliceiro_nats::embedded::EmbeddedServer;
use moliceiro_nats::messages::Upload;
use moliceiro_nats::{NatsSettings, Patience, Streams, connect_reporting};
use moliceiro_service::{
    SettingsError, Telemetry, shutdown_on_signals, start_endpoint, start_logging_to,
};
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

pub use arguments::RunArguments;
use folder::Expanded;
use follower::{Outcome, SummaryFollower};
pub use inputs::{InputError, VideoInput};
use model::{ModelChoice, check_size, resolve_all};
use options::UploadOptions;
use plan::{Earlier, RunPlan};
use progress::Progress;
use server::ServerKind;
pub use server::{default_data, nats_server, start as start_server};
pub use services::{ServiceSettings, Services};
pub use tracking::{TrackingArguments, wrong_option};

const PUBLISHES_IN_FLIGHT: usize = 16;
/// After a stop, services get this long to finish what they have in flight.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(10);
/// After a stop, the last frames of live sources get this long to be counted.
const LIVE_TIMEOUT: Duration = Duration::from_secs(30);
/// After a frame that the model does not finish, videos of which all other frames are analysed get
/// this long to be counted.
const SETTLE_TIME: Duration = Duration::from_secs(5);
/// The exit code that a shell reports for a program that Ctrl-C ended.
const INTERRUPTED: u8 = 130;

/// Runs `moliceiro run` to its end and returns its exit code.
///
/// Fails before it starts anything if an argument, a setting or the model is invalid.
pub fn run(arguments: &RunArguments) -> anyhow::Result<ExitCode> {
    let inputs = VideoInput::parse_all(&arguments.videos)?;
    let options = arguments.upload_options()?;
    let settings = arguments.settings()?;
    let mut services = ServiceSettings::read(&settings)?;
    services.upload_defaults = options.defaults();
    let Expanded { mut inputs, picture_folders, notes } =
        Expanded::of(inputs, arguments.recursive)?;
    check_times(&options, &picture_folders)?;
    names::distinguish(&mut inputs);
    let progress = Progress::new();
    start_logging_to(&services.base.log, progress.writer());
    for note in notes {
        progress.print(&note);
    }
    // An unusable model is an error before anything is queued for it.
    let models = arguments.models(&services.detector)?;
    services.preload(&models);
    if !models.iter().any(|model| matches!(model, ModelChoice::File(..))) {
        moliceiro_detector::check(&services.detector)?;
    }

    let server = arguments.start_server(&settings)?;
    let services = match &server {
        Some(server) => {
            let (streams, notice) = server::fit(server, &services.streams)?;
            if let Some(notice) = notice {
                progress.print(&notice);
            }
            ServiceSettings { streams, ..services }
        }
        None => services,
    };
    let nats = match &server {
        Some(server) => NatsSettings::at(server.url()),
        None => services.nats.clone(),
    };
    let earlier = arguments.earlier();
    if earlier == Earlier::Drop && server.is_none() {
        anyhow::bail!(SettingsError::Invalid(vec![
            "--drop-unfinished does not work with a shared server (--nats): others may wait for \
             its videos; cancel yours by HTTP or NATS"
                .into()
        ]));
    }
    let format = if arguments.json { OutputFormat::Json } else { OutputFormat::Text };
    let runtime = Runtime::new().context("cannot start the async runtime")?;
    let session = Session {
        services: services.with_nats(nats),
        server,
        progress,
        format,
        options,
        models,
        earlier,
        ordered: !arguments.unordered,
    };
    let code = runtime.block_on(session.run(inputs));
    // Does not wait for threads that still analyse a frame. The frame is not acknowledged, so it
    // is not lost.
    runtime.shutdown_background();
    code
}

/// Whether a detector ended because of a frame that its model does not finish.
fn is_hung(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(DetectorError::Hung(_)))
}

/// The pictures of a folder have no times: options that select by time would silently do nothing.
fn check_times(options: &UploadOptions, picture_folders: &[String]) -> Result<(), SettingsError> {
    let given = options.by_time();
    match picture_folders.first() {
        Some(folder) if !given.is_empty() => Err(SettingsError::Invalid(vec![format!(
            "{folder} is a folder of pictures, which have no times: use --every N there instead \
             of {}, or name it in a run of its own",
            given.join(" and ")
        )])),
        _ => Ok(()),
    }
}

/// One run, from a server that is up to the last summary.
struct Session {
    services: ServiceSettings,
    server: Option<EmbeddedServer>,
    progress: Progress,
    format: OutputFormat,
    options: UploadOptions,
    /// What the command line names; none: the setting `ingest.model` holds.
    models: Vec<ModelChoice>,
    earlier: Earlier,
    ordered: bool,
}

impl Session {
    async fn run(mut self, inputs: Vec<VideoInput>) -> anyhow::Result<ExitCode> {
        let interrupted = shutdown_on_signals().context("cannot watch for Ctrl-C")?;
        let code = self.count(inputs, &interrupted).await;
        if let Some(server) = self.server.take() {
            tokio::task::spawn_blocking(|| server.stop())
                .await
                .context("cannot stop nats-server")?;
        }
        self.progress.close();
        code
    }

    async fn count(
        &mut self,
        inputs: Vec<VideoInput>,
        interrupted: &CancellationToken,
    ) -> anyhow::Result<ExitCode> {
        let telemetry = Telemetry::default();
        let permissions = telemetry.permissions.clone();
        // Without a permission, requests only time out, and again and again.
        tokio::select! {
            code = self.count_permitted(inputs, interrupted, telemetry) => code,
            denied = permissions.denied() => Err(denied.into()),
        }
    }

    async fn count_permitted(
        &mut self,
        inputs: Vec<VideoInput>,
        interrupted: &CancellationToken,
        telemetry: Telemetry,
    ) -> anyhow::Result<ExitCode> {
        let client = connect_reporting(
            &self.services.nats,
            "moliceiro-run",
            Patience::FailAtOnce,
            &telemetry.permissions,
        );
        let client = client.await?;
        let streams = Streams::open(client, &self.services.streams, PUBLISHES_IN_FLIGHT).await?;
        let kind = ServerKind::of(self.server.as_ref());
        let is_default = self.models.is_empty();
        if is_default {
            self.models.push(ModelChoice::Named(self.services.ingest.model.clone()));
        }
        let models = resolve_all(&self.models, &streams, kind).await?;
        for model in &models {
            check_size(&self.services.ingest, model)?;
        }
        let models: Vec<_> = models.into_iter().map(|model| model.model).collect();
        if let Some(known) = streams.models.labels(&models).await? {
            let UploadOptions { tracking, alarms, .. } = &self.options;
            let checked = tracking.check_classes(alarms.as_deref().unwrap_or_default(), &known);
            checked.map_err(|unknown| wrong_option(&unknown.into()))?;
        }
        if !is_default {
            self.options.models = models;
            if let Err(error) = Upload::check_models(None, &self.options.models) {
                anyhow::bail!(SettingsError::Invalid(vec![format!("--model: {error}")]));
            }
            self.services.upload_defaults = self.options.defaults();
        }
        let plan = RunPlan::make(&streams, inputs, &self.options, kind, self.earlier).await?;
        let print = (self.earlier, self.ordered);
        let mut follower = SummaryFollower::open(&streams, kind, self.format, &plan, print).await?;
        let listen = self.services.http.listen.clone();
        if follower.is_finished() && listen.is_empty() {
            if self.earlier == Earlier::Drop {
                self.progress.print("no earlier run left a video unfinished");
                return Ok(ExitCode::SUCCESS);
            }
            anyhow::bail!(SettingsError::Invalid(vec![
                "no VIDEO is given, and no earlier run left one unfinished; see --help".into()
            ]));
        }
        self.services.ingest.allow.extend_from_slice(plan.uris());
        tokio::select! {
            submitted = plan.submit(&streams, &follower) => submitted?,
            error = Box::pin(server::watch(&mut self.server, &streams, &self.progress)) => {
                return Err(error);
            }
        }
        if !listen.is_empty() {
            self.progress.print(&format!("accepting videos on {listen} until Ctrl-C"));
        }

        let base = &self.services.base;
        start_endpoint(&base.metrics, base.metrics_port, telemetry.clone()).await?;
        let mut services = Services::start(&self.services, &telemetry);
        let end = tokio::select! {
            outcome = follower.follow(&self.progress, !listen.is_empty()) => outcome.map(Some),
            error = services.first_error() => {
                // The frame that failed then may be the last one.
                let outcome = match is_hung(&error) && listen.is_empty() {
                    true => follower.follow_for(SETTLE_TIME, &self.progress).await?,
                    false => None,
                };
                outcome.map_or(Err(error), |outcome| Ok(Some(outcome)))
            }
            error = Box::pin(server::watch(&mut self.server, &streams, &self.progress)) => {
                Err(error)
            }
            () = interrupted.cancelled() => Ok(None),
        };
        let closed = follower.is_output_closed();
        if matches!(end, Ok(None)) || closed {
            self.stop_live_sources(&streams, &mut follower).await?;
            follower.print_waiting(&self.progress).await?;
        }
        services.stop(SHUTDOWN_TIMEOUT).await;
        match end? {
            // The reader of the summaries has read enough.
            Some(_) if closed => {
                if let Some(notice) = follower.unfinished_notice() {
                    self.progress.print(&notice);
                }
                Ok(ExitCode::SUCCESS)
            }
            Some(Outcome::Complete) => Ok(ExitCode::SUCCESS),
            Some(Outcome::WithProblems) => Ok(ExitCode::FAILURE),
            None => {
                if let Some(notice) = follower.unfinished_notice() {
                    self.progress.print(&notice);
                }
                Ok(ExitCode::from(INTERRUPTED))
            }
        }
    }

    /// Cancels the live sources, which would never end by themselves, and waits for the summaries
    /// of what was counted.
    async fn stop_live_sources(
        &self,
        streams: &Streams,
        follower: &mut SummaryFollower,
    ) -> anyhow::Result<()> {
        let sources: Vec<_> = follower.live_sources().cloned().collect();
        for source in &sources {
            streams.videos().cancel(source, "stopped by Ctrl-C or a signal").await?;
        }
        let finished = follower.follow_live_sources(&self.progress);
        match tokio::time::timeout(LIVE_TIMEOUT, finished).await {
            Ok(finished) => finished,
            Err(_) => {
                self.progress.print(
                    "the last frames of a live source are not counted yet; the next run counts \
                     them",
                );
                Ok(())
            }
        }
    }
}

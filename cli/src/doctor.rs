//! `moliceiro doctor`: what of this machine and of the server is in order, and what to do about the
//! rest.

mod machine;
mod report;
mod server;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use moliceiro_nats::NatsSettings;
use moliceiro_nats::embedded::EmbeddedServer;
use moliceiro_run::{default_data, start_server};
use moliceiro_service::{CommonArguments, LogSettings, Settings, start_logging};

use report::Report;

const COMMAND: &str = "moliceiro doctor";

/// Checks this machine and a server, and says what to do about what is wrong
///
/// Each line is `ok`, a `warning` (it works, but not as well as it could), or a `problem`. The
/// server is the one of --nats, or else the one of the settings, or else the private server of
/// `moliceiro run`.
#[derive(Clone, Debug, Parser)]
#[command(
    after_help = "Exit codes: 0 no problem; 1 at least one problem; 64 wrong usage or settings"
)]
pub(crate) struct DoctorArguments {
    /// Check the private server of `moliceiro run` on this folder, and its disk; it is started if it
    /// does not run
    #[arg(long, value_name = "DIR", conflicts_with = "nats_url")]
    data: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    common: CommonArguments,
}

pub(crate) fn run(arguments: &DoctorArguments) -> anyhow::Result<ExitCode> {
    // The report says all there is to say.
    let loader = arguments.common.loader().default_for(COMMAND, "log.level", "off");
    let settings = loader.load()?;
    start_logging(&settings.section::<LogSettings>()?);
    let mut report = Report::default();
    machine::check(&settings, &mut report)?;
    check_server(arguments, &settings, &mut report)?;
    report.print(arguments.json)?;
    Ok(if report.has_problem() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn check_server(
    arguments: &DoctorArguments,
    settings: &Settings,
    report: &mut Report,
) -> anyhow::Result<()> {
    if arguments.data.is_none() && settings.origin("nats.url").is_some() {
        machine::check_spool(settings, report)?;
        machine::check_program(false, report);
        return server::check(&settings.section()?, settings, true, report);
    }
    let data = arguments.data.clone().or_else(default_data);
    let data = data.as_deref();
    machine::check_data(data, settings, report)?;
    let runs = machine::check_program(true, report);
    let Some(data) = data else { return Ok(()) };
    // Without --data, nothing is started: a folder that nobody has used yet stays as it is.
    let is_named = arguments.data.is_some();
    match EmbeddedServer::running(data) {
        Ok(Some(url)) => check_private(url, settings, report),
        _ if !runs || !is_named && !EmbeddedServer::has_data(data) => {
            report.ok("server", "none is named: --nats URL checks one");
            Ok(())
        }
        _ => start_and_check(data, settings, report),
    }
}

fn start_and_check(data: &Path, settings: &Settings, report: &mut Report) -> anyhow::Result<()> {
    match start_server(None, Some(data.to_owned())) {
        Ok(private) => {
            let checked = check_private(private.url().to_owned(), settings, report);
            private.stop();
            checked
        }
        Err(error) => {
            report.problem("server", error.to_string(), "see what it says above");
            Ok(())
        }
    }
}

fn check_private(url: String, settings: &Settings, report: &mut Report) -> anyhow::Result<()> {
    server::check(&NatsSettings::at(url), settings, false, report)
}

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use moliceiro_aggregator::AggregatorSettings;
use moliceiro_api::HttpSettings;
use moliceiro_detector::DetectorSettings;
use moliceiro_ingest::IngestSettings;
use moliceiro_nats::{NatsSettings, StreamsSettings};
use moliceiro_service::{CommonArguments, LogSettings, MetricsSettings};

/// Prints the effective settings, and where each comes from
#[derive(Clone, Debug, Parser)]
#[command(after_help = "The output is a valid settings file: moliceiro config > moliceiro.toml")]
pub(crate) struct ConfigArguments {
    #[command(flatten)]
    common: CommonArguments,
}

pub(crate) fn run(arguments: &ConfigArguments) -> anyhow::Result<ExitCode> {
    let settings = arguments.common.loader().load()?;
    let tables = [
        settings.print::<LogSettings>()?,
        settings.print::<MetricsSettings>()?,
        settings.print::<NatsSettings>()?,
        settings.print::<StreamsSettings>()?,
        settings.print::<IngestSettings>()?,
        settings.print::<HttpSettings>()?,
        settings.print::<DetectorSettings>()?,
        settings.print::<AggregatorSettings>()?,
    ];
    write!(moliceiro_service::stdout(), "{}", tables.join("\n"))?;
    Ok(ExitCode::SUCCESS)
}

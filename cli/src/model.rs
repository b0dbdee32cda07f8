use std::process::ExitCode;

use clap::Subcommand;

use crate::model_check::{self, CheckArguments};

/// Works with models
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum ModelCommand {
    Check(CheckArguments),
}

pub(crate) fn run(command: &ModelCommand) -> anyhow::Result<ExitCode> {
    match command {
        ModelCommand::Check(arguments) => model_check::run(arguments),
    }
}

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{CommandFactory, Parser};

use crate::Arguments;

/// Writes the manual pages of this command and of each of its commands into a folder
#[derive(Clone, Debug, Parser)]
#[command(after_help = "\
Example: moliceiro man ~/.local/share/man/man1 && man moliceiro-run")]
pub(crate) struct ManualArguments {
    /// The folder, which is created if needed
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

pub(crate) fn run(arguments: &ManualArguments) -> anyhow::Result<ExitCode> {
    let folder = &arguments.folder;
    let unusable = || format!("the folder {} cannot be written", folder.display());
    std::fs::create_dir_all(folder).with_context(unusable)?;
    // `help COMMAND` would have pages that repeat those of the commands.
    let command = Arguments::command().disable_help_subcommand(true);
    clap_mangen::generate_to(command, folder).with_context(unusable)?;
    Ok(ExitCode::SUCCESS)
}
